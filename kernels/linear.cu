// out = epilogue(x·wᵀ + bias) on the tensor cores, rows of x and w (k) multiples of eight: the sums of `product`, then the
// epilogue and stores of four neighbours.
#include "linear.cuh"
#include "product.cuh"

/// What becomes of four neighbours of a tile.
struct Store {
    const Params &p;
    Finish f;
    u32 row0, column0;
    bool vector;

    DEVICE_MEMBER bool wants(u32 row, u32 column) const {
        return row0 + row < p.rows && column0 + column < p.columns;
    }

    DEVICE_MEMBER void operator()(u32 row, u32 column, float (&y)[4]) const {
        if (vector) {
            finish4<true>(p, f, row0 + row, column0 + column, y);
        } else {
            finish4<false>(p, f, row0 + row, column0 + column, y);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    linear(O *out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const f32 *__restrict__ mods, const f32 *__restrict__ onto, Params p, Gate gate) {
    DYNAMIC_SHARED(shared, LAYOUT_BYTES);
    if (gated_off(gate)) {
        return;
    }
    const u32 row0 = blockIdx.y * TILE_ROWS, column0 = blockIdx.x * TILE_COLUMNS;
    Loader<TILE_ROWS> of_x(x, row0, p.rows, p.depth);
    Loader<TILE_COLUMNS> of_w(w, column0, p.columns, p.depth);
    const Store store{p, Finish{out, bias, mods, onto}, row0, column0, vectors(p)};
    product(shared, of_x, of_w, (p.depth + DEPTH - 1) / DEPTH, store);
}
