// What the kernels use of CUDA, for a C++ compiler: the threads of a launch run one after the other.
//
// That is right for kernels whose threads neither wait for each other nor pass anything on, as ours.
#pragma once

#define __global__
#define __device__
#define __constant__ static const
#define __shared__ static

struct Index {
    unsigned int x, y;
};
static Index blockIdx, threadIdx, blockDim;

static inline int __clz(int value) { return value ? __builtin_clz((unsigned int)value) : 32; }
static inline int __clzll(long long value) {
    return value ? __builtin_clzll((unsigned long long)value) : 64;
}
static inline int atomicMax(int* address, int value) {
    const int old = *address;
    if (value > old) *address = value;
    return old;
}
