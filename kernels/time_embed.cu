// out[b] = [cos(t·f₀), .., cos(t·f₁₂₇), sin(t·f₀), ..], f_k = 10000^(−k/divisor). One row per block, one
// frequency per thread.
#include "common.cuh"

struct Params {
    u32 batch, step;
    f32 divisor;
};

constexpr u32 FREQUENCIES = 128;

extern "C" __global__ void __launch_bounds__(128)
    time_embed(T *__restrict__ out, const f32 *__restrict__ times, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    const u32 b = blockIdx.x, k = threadIdx.x;
    const float t = times[static_cast<u64>(p.step) * p.batch + b];
    // Rounded to f32 at each step as the reference rounds: at t = 1000 the last place of an exponent is half
    // a thousandth of a radian. Between these roundings f64, of which there is little: f32 functions that are
    // exact for angles of hundreds of turns need a table in local memory.
    const float exponent = -(9.2103405f * k) / p.divisor;
    const float angle = t * static_cast<float>(exp(static_cast<double>(exponent)));
    double sine, cosine;
    sincospi(angle * 0.31830988618379067, &sine, &cosine);
    out += static_cast<u64>(b) * 2 * FREQUENCIES;
    put(out[k], static_cast<float>(cosine));
    put(out[FREQUENCIES + k], static_cast<float>(sine));
}
