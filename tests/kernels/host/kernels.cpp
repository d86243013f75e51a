// All kernels as one library for the host; `launch` does what CUDA does with a grid and a block.
#include "cuda_on_host.h"

#include "jpegls.cu"
#include "rle.cu"

template <typename Kernel, typename Segment>
static void run(Kernel kernel, unsigned int blocks, unsigned int lanes, unsigned int warps,
                const u8* data, const Segment* segments, int count, int* status) {
    blockDim = {lanes, warps};
    for (blockIdx.x = 0; blockIdx.x < blocks; blockIdx.x++)
        for (threadIdx.y = 0; threadIdx.y < warps; threadIdx.y++)
            for (threadIdx.x = 0; threadIdx.x < lanes; threadIdx.x++)
                kernel(data, segments, count, status);
}

using JpeglsKernel = void (*)(const u8*, const jpegls::Segment*, int, int*);
static const JpeglsKernel JPEGLS[] = {jpegls_8_1,  jpegls_8_2,  jpegls_8_3,  jpegls_8_4,
                                      jpegls_16_1, jpegls_16_2, jpegls_16_3, jpegls_16_4};
static const int RLE = 8;  // the kernel after those

// `kernel` counts from 0 in the order of KERNELS in kernels_on_host.py.
extern "C" void launch(int kernel, int blocks, int lanes, int warps, const u8* data,
                       const void* segments, int count, int* status) {
    if (kernel < RLE)
        run(JPEGLS[kernel], blocks, lanes, warps, data, (const jpegls::Segment*)segments, count,
            status);
    else
        run(rle_planes, blocks, lanes, warps, data, (const rle::Segment*)segments, count, status);
}
