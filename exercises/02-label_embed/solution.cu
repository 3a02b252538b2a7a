// c = time + table[label] and act = SiLU(c), a row to a block.
// steep: tile = 1, 1, 1
// steep: threads = 128
#include "common.cuh"

struct Params {
    u32 dim, rows, batch;
};

extern "C" __global__ void label_embed(f32 *c, T *act, const f32 *time, const f32 *table, const u32 *labels,
                                       Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 row = blockIdx.x;
    const u32 label = min(labels[row], p.rows - 1);
    // Neighbouring threads read neighbouring elements.
    for (u32 j = threadIdx.x; j < p.dim; j += blockDim.x) {
        const u32 i = row * p.dim + j;
        const float sum = time[i] + table[label * p.dim + j];
        c[i] = sum;
        // Of a large negative sum, e^-sum is infinite and the quotient -0, which is right.
        put(act[i], sum / (1.0f + expf(-sum)));
    }
}
