// The kernels that take arrays, as functions for the host: see kernels_on_host.py.
#include "cuda_on_host.h"

#include "pyramid.cu"
#include "window.cu"
#ifdef SANSFILM_THREADS
#include <thread>
#include <vector>
#endif

using WindowKernel = void (*)(const void*, void*, i64, const window::Curve*);
static const WindowKernel WINDOWS[] = {
    (WindowKernel)window_float32, (WindowKernel)window_float64, (WindowKernel)grey_int8,
    (WindowKernel)grey_uint8,     (WindowKernel)grey_int16,     (WindowKernel)grey_uint16,
    (WindowKernel)grey_int32,     (WindowKernel)grey_uint32,    (WindowKernel)grey_float32,
    (WindowKernel)grey_float64};

extern "C" void launch_window(int kernel, unsigned int blocks, unsigned int threads,
                              const void* values, void* out, i64 count, const void* curve) {
    gridDim = {blocks, 1};
    blockDim = {threads, 1};
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.x = 0; threadIdx.x < threads; threadIdx.x++)
            WINDOWS[kernel](values, out, count, (const window::Curve*)curve);
}

using PyramidKernel = void (*)(const pyramid::Block*, const pyramid::Level*);
static const PyramidKernel PYRAMIDS[] = {pyramid_int8,   pyramid_uint8, pyramid_int16,
                                         pyramid_uint16, pyramid_int32, pyramid_uint32};

// Its threads wait for each other, so one at a time means one in a block.
extern "C" void launch_pyramid(int kernel, unsigned int blocks, unsigned int threads,
                               const void* block, const void* levels) {
    const auto run = [=](unsigned int number, unsigned int thread) {
        blockIdx.x = number;
        threadIdx.x = thread;
        PYRAMIDS[kernel]((const pyramid::Block*)block, (const pyramid::Level*)levels);
    };
    gridDim = {blocks, 1};
#ifdef SANSFILM_THREADS
    blockDim = {threads, 1};
    pthread_barrier_init(&barrier, nullptr, threads);
    for (unsigned int number = 0; number < blocks; number++) {
        std::vector<std::thread> all;
        for (unsigned int thread = 0; thread < threads; thread++) all.emplace_back(run, number, thread);
        for (std::thread& each : all) each.join();
    }
    pthread_barrier_destroy(&barrier);
#else
    (void)threads;
    blockDim = {1, 1};
    for (unsigned int number = 0; number < blocks; number++) run(number, 0);
#endif
}
