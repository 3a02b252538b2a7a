// Accesses whose counts are known by hand. What two warps of 64 threads do at a line stands behind it: the
// kind, how often a warp does it, how many lanes, what is moved (sectors or rounds), and the least that would
// do.
#include "common.cuh"

extern "C" __global__ void counters(f32 *out, const f32 *in, Gate) {
    __shared__ f32 padded[2][32][33], bare[2][32][32];
    __shared__ double wide[64];
    __shared__ __align__(16) f32 quads[256];
    const u32 t = threadIdx.x, warp = t / 32, lane = t % 32;
    // Global memory.
    f32 sum = in[t];       // global read 2 64 8 8
    sum += in[64 + 8 * t]; // global read 2 64 64 8
    sum += in[601 + t];    // global read 2 64 10 8
    sum += in[700];        // global read 2 64 2 2
    // A column of a tile: in a bank for each lane, or all in one.
    padded[warp][lane][3] = sum; // shared write 2 64 2 2
    bare[warp][lane][3] = sum;   // shared write 2 64 64 2
    // 8 bytes come in halves of a warp, 16 in quarters.
    wide[t] = sum;                              // shared write 2 64 4 4
    store16(quads + 4 * t, load16(in + 4 * t)); // shared write 2 64 8 8; global read 2 64 32 32
    __syncthreads();                            // barrier 2 64 0 0
    sum += padded[warp][31 - lane][3];          // shared read 2 64 2 2
    sum += bare[warp][31 - lane][3];            // shared read 2 64 64 2
    // All lanes the same word; every second word.
    sum += padded[warp][9][3];           // shared read 2 64 2 2
    sum += quads[2 * t];                 // shared read 2 64 4 2
    sum += expf(sum);                    // special 2 64 0 0
    sum += __shfl_xor_sync(~0u, sum, 1); // exchange 2 64 0 0
    // Half of the lanes; and one warp that does five things more, for which the other waits.
    if (lane < 16) {
        out[t] = sum; // global write 2 32 4 4
    }
    for (u32 i = 0; warp == 1 && i < 5; i++) {
        out[64 + 32 * i + lane] = sum; // global write 5 160 20 20
    }
    __syncthreads();             // barrier 2 64 0 0, idle 5 of 26
    out[300 + t] = wide[63 - t]; // shared read 2 64 4 4; global write 2 64 10 8
}
