// What the kernels use of CUDA, for a C++ compiler.
//
// The threads of a launch run one after the other. That is right for kernels whose threads neither
// wait for each other nor pass anything on; one that does gets a single thread in each block, for
// which there is nothing to wait for. With SANSFILM_THREADS they are real threads, for
// ThreadSanitizer to see whether the barriers are where they must be.
#pragma once
#include <cmath>

#define __global__
#define __device__
#define __constant__ static const
#define __shared__ static

struct Index {
    unsigned int x, y;
};
#ifdef SANSFILM_THREADS
#include <pthread.h>
static thread_local Index blockIdx, threadIdx;
static Index blockDim, gridDim;
static pthread_barrier_t barrier;
static inline void __syncthreads() { pthread_barrier_wait(&barrier); }
#else
static Index blockIdx, threadIdx, blockDim, gridDim;
static inline void __syncthreads() {}
#endif

static inline int __clz(int value) { return value ? __builtin_clz((unsigned int)value) : 32; }
static inline int __clzll(long long value) {
    return value ? __builtin_clzll((unsigned long long)value) : 64;
}
static inline int atomicMax(int* address, int value) {
    const int old = *address;
    if (value > old) *address = value;
    return old;
}

// Compiled with -ffp-contract=off, so that nothing is fused here either.
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
