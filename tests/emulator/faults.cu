// Kernels with one mistake each, and the same without it: what the emulator must report, and what it must
// not.
#include "common.cuh"

struct Params {
    u32 which, right; // right = 1: without the mistake
};

/// What the cases share. Two warps per block.
struct Case {
    u32 *out;      // one word per thread of the grid
    const u32 *in; // 64 words
    bool right;
    u32 t;        // thread
    u32 *shared;  // 64 words
    u32 *copies;  // 64 words, destination of copies
    u32 *counter; // global, 0
};

// ---- bounds and alignment

DEVICE void reads_past_a_shared_array(const Case &c) {
    c.shared[c.t] = c.t;
    __syncthreads();
    c.out[c.t] = c.shared[c.right ? 63 : 64];
}
DEVICE void reads_past_an_argument(const Case &c) {
    c.out[c.t] = c.in[c.right ? 63 : 64];
}
DEVICE void reads_far_away(const Case &c) {
    c.out[c.t] = c.in[c.right ? 0u : c.t - c.t - 1u];
}
DEVICE void writes_before_an_argument(const Case &c) {
    c.out[c.t == 0 && !c.right ? -1 : static_cast<int>(c.t)] = 1;
}
DEVICE void reads_past_dynamic_shared_memory(const Case &c) {
    DYNAMIC_SHARED(bytes, 32);
    if (c.t < 16) {
        reinterpret_cast<u16 *>(bytes)[c.t] = 1;
    }
    __syncthreads();
    c.out[c.t] = bytes[c.right ? 31 : 32];
}
DEVICE void loads_a_misaligned_vector(const Case &c) {
    c.out[c.t] = load16(c.in + (c.right ? 4 : 1)).word[0];
}
DEVICE void writes_what_is_read_only(const Case &c) {
    (c.right ? c.out : const_cast<u32 *>(c.in))[c.t] = 1;
}

DEVICE void reads_what_nobody_wrote(const Case &c) {
    if (c.right || c.t != 5) {
        c.shared[c.t] = c.t;
    }
    __syncthreads();
    c.out[c.t] = c.shared[c.t];
}
DEVICE void does_not_end(const Case &c) {
    for (u32 i = 0; c.right ? i < 9 : c.in[i % 64] == 0; i++) {
        c.out[c.t] = i;
    }
}

// ---- races

DEVICE void misses_a_barrier(const Case &c) {
    c.shared[c.t] = c.t;
    if (c.right) {
        __syncthreads();
    }
    c.out[c.t] = c.shared[63 - c.t];
}
DEVICE void misses_the_second_barrier(const Case &c) {
    c.shared[c.t] = c.t;
    __syncthreads();
    c.out[c.t] = c.shared[63 - c.t];
    if (c.right) {
        __syncthreads();
    }
    c.shared[c.t] = 2 * c.t;
}
/// That lanes of a warp run in step is not promised.
DEVICE void misses_a_warp_barrier(const Case &c) {
    c.shared[c.t] = c.t;
    if (c.right) {
        __syncwarp();
    }
    c.out[c.t] = c.shared[c.t ^ 1];
}
/// Two 16-bit halves of a word are no conflict, one half is.
DEVICE void shares_half_a_word(const Case &c) {
    u16 *const halves = reinterpret_cast<u16 *>(c.shared);
    halves[c.right ? c.t : c.t / 2] = static_cast<u16>(c.t);
    c.out[c.t] = 0;
}
DEVICE void writes_what_another_block_writes(const Case &c) {
    c.out[c.right ? blockIdx.x * 64 + c.t : c.t] = c.t;
}
/// The producer's warp arrives, the consumer's waits.
DEVICE void orders_by_another_named_barrier(const Case &c) {
    if (c.t < 32) {
        c.shared[c.t] = c.t;
        barrier_arrive(1, 64);
        barrier_arrive(2, 64);
        c.shared[32 + c.t] = c.t;
        barrier_arrive(3, 64);
    } else {
        barrier_sync(1, 64);
        barrier_sync(2, 64);
        if (c.right) {
            barrier_sync(3, 64);
        }
        c.out[c.t] = c.shared[c.t];
        if (!c.right) {
            barrier_sync(3, 64);
        }
    }
}
/// The last block adds up what all have written.
DEVICE void misses_a_fence(const Case &c) {
    c.out[blockIdx.x * 64 + c.t] = 1;
    __syncthreads();
    if (c.t == 0) {
        if (c.right) {
            __threadfence();
        }
        if (atomicInc(c.counter, gridDim.x - 1) == gridDim.x - 1) {
            u32 sum = 0;
            for (u32 i = 0; i < 64 * gridDim.x; i++) {
                sum += c.out[i];
            }
            c.out[0] = sum;
        }
    }
}

// ---- who waits for whom

DEVICE void returns_before_a_barrier(const Case &c) {
    if (c.t < 32 || c.right) {
        __syncthreads();
    }
    c.out[c.t] = 0;
}
DEVICE void waits_for_more_threads_than_come(const Case &c) {
    if (c.t < 32) {
        barrier_sync(1, c.right ? 32 : 64);
    }
    c.out[c.t] = 0;
}
DEVICE void disagrees_about_a_barrier(const Case &c) {
    barrier_sync(1, c.right || c.t < 32 ? 64 : 32);
    c.out[c.t] = 0;
}
DEVICE void shuffles_with_half_a_warp(const Case &c) {
    if (c.t % 32 < 16) {
        c.out[c.t] = __shfl_xor_sync(c.right ? 0x0000ffffu : 0xffffffffu, c.t, 1);
    }
}
DEVICE void shuffles_without_itself(const Case &c) {
    c.out[c.t] = __shfl_xor_sync(c.right ? 0xffffffffu : 0x7fffffffu, c.t, 1);
}
DEVICE void takes_two_branches(const Case &c) {
    if (c.t % 2 == 0 || c.right) {
        c.out[c.t] = __shfl_xor_sync(0xffffffffu, c.t, 1);
    } else {
        c.out[c.t] = __ballot_sync(0xffffffffu, 1);
    }
}

// ---- asynchronous copies

DEVICE void copy_mine(const Case &c) {
    if (c.t < 16) {
        cp_async16(c.copies + 4 * c.t, c.in + 4 * c.t, 16);
    }
    cp_async_commit();
}
DEVICE void reads_before_the_copy_is_done(const Case &c) {
    copy_mine(c);
    if (c.right) {
        cp_async_wait<0>();
    }
    c.out[c.t] = c.t < 16 ? c.copies[4 * c.t] : 0;
    cp_async_wait<0>();
}
/// One group may still be on its way, and it is this one.
DEVICE void waits_for_the_wrong_group(const Case &c) {
    copy_mine(c);
    if (c.right) {
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();
    c.out[c.t] = c.copies[c.t];
    cp_async_wait<0>();
}
/// Waiting is for one's own copies only.
DEVICE void waits_without_a_barrier(const Case &c) {
    copy_mine(c);
    cp_async_wait<0>();
    if (c.right) {
        __syncthreads();
    }
    c.out[c.t] = c.copies[c.t];
}
DEVICE void copies_over_what_is_read(const Case &c) {
    c.copies[c.t] = c.t;
    __syncthreads();
    c.out[c.t] = c.copies[63 - c.t];
    if (c.right) {
        __syncthreads();
    }
    copy_mine(c);
    cp_async_wait<0>();
}
DEVICE void forgets_a_copy(const Case &c) {
    copy_mine(c);
    if (c.right) {
        cp_async_wait<0>();
    }
    c.out[c.t] = 0;
}
DEVICE void copies_from_a_misaligned_address(const Case &c) {
    if (c.t == 0) {
        cp_async16(c.copies, c.in + (c.right ? 4 : 2), 16);
    }
    cp_async_commit();
    cp_async_wait<0>();
    c.out[c.t] = 0;
}
/// What is not read need not be there, and becomes 0.
DEVICE void copies_what_is_not_there(const Case &c) {
    if (c.t == 0) {
        cp_async16(c.copies, c.in + 64, c.right ? 0 : 16);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    c.out[c.t] = c.copies[3];
}

extern "C" __global__ void faults(u32 *out, u32 *counter, const u32 *in, Params p, Gate) {
    __shared__ __align__(16) u32 copies[64];
    __shared__ __align__(16) u32 shared[64];
    const Case c{out, in, p.right != 0, threadIdx.x, shared, copies, counter};
    using Kernel = void (*)(const Case &);
    const Kernel all[] = {
        reads_past_a_shared_array,
        reads_past_an_argument,
        reads_far_away,
        writes_before_an_argument,
        reads_past_dynamic_shared_memory,
        loads_a_misaligned_vector,
        writes_what_is_read_only,
        reads_what_nobody_wrote,
        does_not_end,
        misses_a_barrier,
        misses_the_second_barrier,
        misses_a_warp_barrier,
        shares_half_a_word,
        writes_what_another_block_writes,
        orders_by_another_named_barrier,
        misses_a_fence,
        returns_before_a_barrier,
        waits_for_more_threads_than_come,
        disagrees_about_a_barrier,
        shuffles_with_half_a_warp,
        shuffles_without_itself,
        takes_two_branches,
        reads_before_the_copy_is_done,
        waits_for_the_wrong_group,
        waits_without_a_barrier,
        copies_over_what_is_read,
        forgets_a_copy,
        copies_from_a_misaligned_address,
        copies_what_is_not_there,
    };
    all[p.which](c);
}
