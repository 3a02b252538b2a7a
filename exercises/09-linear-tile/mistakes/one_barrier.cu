// expect: race: thread
// The second barrier is missing: the next tile is written while somebody still computes with this one.
// memory is used 16 times.
// steep: tile = 1, 16, 16
// steep: threads = 256
#include "linear.cuh" // Params, Finish and finish(): the bias, and what happens to a sum before it is stored

constexpr u32 SIDE = 16;

extern "C" __global__ void linear(O *out, const T *x, const T *w, const f32 *bias, const f32 *mods, const f32 *onto,
                                  Params p, Gate gate) {
    // A column more than is used: 16 threads that read a column of ws would meet in two banks of 32.
    __shared__ float xs[SIDE][SIDE], ws[SIDE][SIDE + 1];
    if (gated_off(gate)) {
        return;
    }
    const u32 across = threadIdx.x % SIDE, down = threadIdx.x / SIDE;
    const u32 row = blockIdx.y * SIDE + down, column = blockIdx.x * SIDE + across;
    // What this thread brings of w is not what it computes: row `down` of the tile, so that neighbours read neighbours.
    const u32 brought = blockIdx.x * SIDE + down;
    float sum = 0.0f;
    for (u32 k0 = 0; k0 < p.depth; k0 += SIDE) {
        const u32 k = k0 + across;
        // Zeros past the ends: they add nothing. No thread leaves before the barriers.
        xs[down][across] = row < p.rows && k < p.depth ? to_f32(x[row * p.depth + k]) : 0.0f; // here
        ws[down][across] = brought < p.columns && k < p.depth ? to_f32(w[brought * p.depth + k]) : 0.0f; // here
        // The tiles are complete.
        __syncthreads();
        for (u32 i = 0; i < SIDE; i++) {
            sum = fmaf(xs[down][i], ws[across][i], sum); // here
        }
    }
    if (row < p.rows && column < p.columns) {
        finish(p, Finish{out, bias, mods, onto}, row, column, sum);
    }
}
