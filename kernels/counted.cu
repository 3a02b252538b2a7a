// A gated call that does next to nothing: what the executor tries conditional nodes with before it relies on them
// (src/device/cuda/condition.rs).
#include "common.cuh"

struct Params {
    u32 amount;
};

/// One thread.
extern "C" __global__ void counted(u32 *sum, Params p, Gate gate) {
    if (gated_off(gate)) {
        return;
    }
    *sum += p.amount;
}
