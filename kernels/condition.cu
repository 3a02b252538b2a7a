// Whether the gated calls that follow are wanted, as the conditional node of a CUDA graph that they are the body
// of asks it. No op: where calls become a graph, the executor puts it before them (src/device/cuda/queue.rs).
#include "common.cuh"

struct Params {
    u64 handle; // of the node
    u32 calls;  // in its body
};

/// The device runtime declares it; nothing defines it, libcudadevrt no more than a header. The assembler lets it
/// pass as it does vprintf, any other undefined function is an error: the machine code names the symbol, and the
/// driver puts the address in when it loads the module. So this is compiled as all kernels are and linked with
/// nothing.
extern "C" __device__ void cudaGraphSetConditional(u64 handle, u32 value);

/// One thread. Calls that do not run cannot count themselves.
extern "C" __global__ void condition(Params p, Gate gate) {
    const bool off = turns_away(gate);
    if (off) {
        atomicAdd(gate.tally + 1, p.calls);
    }
    cudaGraphSetConditional(p.handle, off ? 0 : 1);
}
