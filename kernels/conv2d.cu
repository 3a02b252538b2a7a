// out = conv(x) + bias + add on the tensor cores: the product of `linear`, whose rows are windows that are read where they
// lie in x. Channels are multiples of 32, so that a stage's 32 numbers are of one pixel of the window.
#include "conv2d.cuh"
#include "product.cuh"

/// What one thread loads of a tile of windows: in each stage, the same chunk of every ROWS-th pixel's.
struct Windows {
    static constexpr u32 ROWS = THREADS / CHUNKS, TURNS = TILE_ROWS / ROWS;
    static_assert(TILE_ROWS % ROWS == 0 && ROWS % (2 * CHUNKS) == 0, "whole turns, each with its rows' chunks in one place");
    const Params &p;
    const T *x;
    u32 first, to;             // the first turn's row, and where its chunk is in a stage
    u32 down, right, at, chunk; // place in the window, channel, and this thread's chunk of a stage's channels
    u32 from[TURNS];           // the pixel that each turn sees there
    u32 inside;                // a bit for each turn: whether it sees one

    DEVICE_MEMBER Windows(const Params &params, const T *image, u32 row0)
        : p(params), x(image), down(0), right(0), at(0) {
        const u32 row = threadIdx.x / CHUNKS;
        chunk = threadIdx.x % CHUNKS;
        first = row0 + row;
        to = place(row, chunk);
        look();
    }

    /// Finds the pixels at this place of the window.
    DEVICE_MEMBER void look() {
        inside = 0;
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            const u32 row = first + turn * ROWS;
            const bool sees = Pixel(p, row).sees(p, down, right, from[turn]);
            inside |= (row < p.rows && sees ? 1u : 0u) << turn;
        }
    }

    /// Starts to load the next stage, zeros outside of the image.
    DEVICE_MEMBER void next(T *stage) {
#pragma unroll
        for (u32 turn = 0; turn < TURNS; turn++) {
            const bool there = (inside >> turn & 1u) != 0;
            const T *const pixel = x + static_cast<u64>(from[turn]) * p.channels + at + 8 * chunk;
            cp_async16(stage + to + turn * ROWS * DEPTH, there ? pixel : x, there ? 16 : 0);
        }
        at += DEPTH;
        if (at == p.channels) {
            at = 0;
            right++;
            if (right == p.size) {
                right = 0;
                down++;
            }
            look();
        }
    }
};

/// What becomes of eight neighbours of a tile.
struct Store {
    const Params &p;
    T *out;
    const f32 *bias;
    const T *add;
    u32 row0, column0;

    DEVICE_MEMBER bool wants(u32 row, u32 column) const {
        return row0 + row < p.rows && column0 + column < p.columns;
    }

    DEVICE_MEMBER void operator()(u32 row, u32 column, float (&y)[4]) const {
        finish4<true>(p, out, bias, add, row0 + row, column0 + column, y);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    conv2d(T *__restrict__ out, const T *__restrict__ x, const T *__restrict__ w, const f32 *__restrict__ bias,
           const T *__restrict__ add, Params p, Gate gate) {
    DYNAMIC_SHARED(shared, LAYOUT_BYTES);
    if (gated_off(gate)) {
        return;
    }
    const u32 row0 = blockIdx.y * TILE_ROWS, column0 = blockIdx.x * TILE_COLUMNS;
    const u32 depth = p.size * p.size * p.channels;
    Windows of_x(p, x, row0);
    Loader<TILE_COLUMNS> of_w(w, column0, p.columns, depth);
    product(shared, of_x, of_w, depth / DEPTH, Store{p, out, bias, add, row0, column0});
}
