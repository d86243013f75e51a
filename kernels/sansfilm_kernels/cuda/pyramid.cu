// All levels of a pyramid of exact means in one launch.
//
// A tile is a number of whole cells of the deepest level, and a block takes one tile after the
// other. Its threads share out the cells of the first level, whose sums are taken from the voxels;
// then, once all are done, those of the next level, whose sums are taken from these, and so on. Sums
// and counts are integers of 64 bits, so their order does not matter and nothing is rounded twice.
// They stay in a piece of memory of the block's own, small enough for the cache.
//
// No header is included, so that NVRTC, nvcc and, for the tests, a C++ compiler take the same text.

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

namespace pyramid {

constexpr int AXES = 4;

// As in _pyramid_cuda.py: LEVEL.
struct Level {
    u64 out;
    i64 scratch;         // where its sums begin in the memory of a block
    int shape[AXES];
    int factors[AXES];   // voxels of a cell
    int steps[AXES];     // cells of the level before in a cell; voxels at the first level
};
static_assert(sizeof(Level) == 64, "_pyramid_cuda.py has the same");

// As in _pyramid_cuda.py: BLOCK.
struct Block {
    u64 data;
    u64 scratch;
    i64 room;            // sums that a block of threads has room for
    i64 tiles;
    i64 strides[AXES];   // in voxels
    i64 low, high;       // no padding: low > high
    i64 empty;           // what a cell of nothing but padding gives
    int shape[AXES];
    int extents[AXES];   // voxels of a tile
    int levels;
    int unused;
};
static_assert(sizeof(Block) == 128, "_pyramid_cuda.py has the same");

struct Sum {
    i64 total, count;
};

__device__ inline int least(int a, int b) { return a < b ? a : b; }

__device__ inline i64 rounded_mean(Sum sum) {
    const i64 twice = 2 * sum.total + sum.count, by = 2 * sum.count;
    const i64 quotient = twice / by;
    return twice < quotient * by ? quotient - 1 : quotient;
}

// Calls `add` with the offset of each entry from `start` to before `stop`.
template <typename Stride, typename Add>
__device__ inline void each(const int (&start)[AXES], const int (&stop)[AXES],
                            const Stride (&strides)[AXES], Add add) {
    for (int a = start[0]; a < stop[0]; a++)
        for (int b = start[1]; b < stop[1]; b++)
            for (int c = start[2]; c < stop[2]; c++) {
                const Stride line = a * strides[0] + b * strides[1] + c * strides[2];
                for (int d = start[3]; d < stop[3]; d++) add(line + d * strides[3]);
            }
}

template <typename T>
__device__ inline Sum sum_of_voxels(const Block& block, const T* voxels, const int (&start)[AXES],
                                    const int (&stop)[AXES]) {
    Sum sum = {0, 0};
    each(start, stop, block.strides, [&](i64 offset) {
        const i64 voxel = voxels[offset];
        const bool padding = block.low <= voxel && voxel <= block.high;
        sum.total += padding ? 0 : voxel;
        sum.count += padding ? 0 : 1;
    });
    return sum;
}

__device__ inline Sum sum_of_sums(const Sum* sums, const int (&start)[AXES],
                                  const int (&stop)[AXES], const int (&strides)[AXES]) {
    Sum sum = {0, 0};
    each(start, stop, strides, [&](int offset) {
        sum.total += sums[offset].total;
        sum.count += sums[offset].count;
    });
    return sum;
}

// One tile at all levels. Cells of a level lie in `scratch` in C order, as many as are in the tile.
template <typename T>
__device__ void reduce_tile(const Block& block, const Level* levels, i64 tile, Sum* scratch) {
    int origin[AXES], before[AXES], before_strides[AXES];
    const T* voxels = (const T*)block.data;
    for (int k = AXES - 1; k >= 0; k--) {
        const int along = (block.shape[k] - 1) / block.extents[k] + 1;
        origin[k] = (int)(tile % along) * block.extents[k];
        tile /= along;
        voxels += origin[k] * block.strides[k];
        before[k] = least(block.extents[k], block.shape[k] - origin[k]);
        before_strides[k] = 0;
    }
    const Sum* sums = nullptr;
    for (int n = 0; n < block.levels; n++) {
        const Level& level = levels[n];
        int count[AXES], strides[AXES], cells = 1;
        for (int k = AXES - 1; k >= 0; k--) {
            count[k] = (before[k] - 1) / level.steps[k] + 1;
            strides[k] = cells;
            cells *= count[k];
        }
        for (int i = threadIdx.x; i < cells; i += blockDim.x) {
            int start[AXES], stop[AXES], rest = i;
            i64 place = 0;
            for (int k = 0; k < AXES; k++) {
                const int at = rest / strides[k];
                rest -= at * strides[k];
                start[k] = at * level.steps[k];
                stop[k] = start[k] + least(level.steps[k], before[k] - start[k]);
                place = place * level.shape[k] + origin[k] / level.factors[k] + at;
            }
            const Sum sum = n == 0 ? sum_of_voxels(block, voxels, start, stop)
                                   : sum_of_sums(sums, start, stop, before_strides);
            if (n + 1 < block.levels) scratch[level.scratch + i] = sum;
            ((T*)level.out)[place] = (T)(sum.count ? rounded_mean(sum) : block.empty);
        }
        __syncthreads();
        sums = scratch + level.scratch;
        for (int k = 0; k < AXES; k++) {
            before[k] = count[k];
            before_strides[k] = strides[k];
        }
    }
}

template <typename T>
__device__ void reduce(const Block& block, const Level* levels) {
    Sum* scratch = (Sum*)block.scratch + blockIdx.x * block.room;
    for (i64 tile = blockIdx.x; tile < block.tiles; tile += gridDim.x)
        reduce_tile<T>(block, levels, tile, scratch);
}

}  // namespace pyramid

#define PYRAMID(NAME, T)                                                                      \
    extern "C" __global__ void pyramid_##NAME(const pyramid::Block* block,                    \
                                              const pyramid::Level* levels) {                 \
        pyramid::reduce<T>(*block, levels);                                                   \
    }

PYRAMID(int8, i8)
PYRAMID(uint8, u8)
PYRAMID(int16, i16)
PYRAMID(uint16, u16)
PYRAMID(int32, int)
PYRAMID(uint32, u32)
