// RLE of DICOM (PS3.5 Annex G, PackBits): one warp unpacks one segment.
//
// A segment is one byte of each sample of one component. All lanes read the same code; then they
// share out the up to 128 bytes that it stands for.
//
// A segment may hold any bytes: each round takes at least one of them, nothing is read behind the
// last one, and nothing is written behind the last pixel. The host has checked where a segment lies
// and where it goes (rle.py).

using u8 = unsigned char;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

namespace rle {

// As in FrameStatus (_batch.py).
constexpr int OK = 0, TRUNCATED = 4, LEFT_OVER = 6;

constexpr int SEGMENTS_PER_BLOCK = 4;  // as in rle.py
constexpr int NO_OPERATION = 128;      // codes below it: that many bytes and one; above it: a run

// As in rle.py: SEGMENT.
struct Segment {
    u64 data;         // offset of its first byte in the buffer of all codestreams
    u64 bytes;
    u64 out;          // address of its byte of the first pixel
    i64 row_step;     // to the pixel below, in bytes
    i64 column_step;  // to the next pixel, in bytes
    int frame;        // whose status it is
    u32 rows;
    u32 columns;
    u32 unused;
};
static_assert(sizeof(Segment) == 56, "rle.py has the same");

__device__ int decode_segment(const u8* data, const Segment& segment, u32 lane, u32 lanes) {
    u8* out = (u8*)segment.out;
    const u8* next = data + segment.data;
    const u8* end = next + segment.bytes;
    const u32 pixels = segment.rows * segment.columns;
    u32 done = 0;
    while (end - next >= 2) {  // a code needs a byte after it: a single one makes the length even
        const u32 code = *next++;
        if (code == NO_OPERATION) continue;
        const bool run = code > NO_OPERATION;
        const u32 length = run ? 257 - code : code + 1;
        const u32 taken = run ? 1 : length;
        if (taken > end - next) return TRUNCATED;
        if (length > pixels - done) return LEFT_OVER;
        for (u32 i = lane; i < length; i += lanes) {
            const u32 row = (done + i) / segment.columns, column = (done + i) % segment.columns;
            out[row * segment.row_step + column * segment.column_step] = next[run ? 0 : i];
        }
        done += length;
        next += taken;
    }
    return done < pixels ? TRUNCATED : OK;
}

}  // namespace rle

extern "C" __global__ void rle_planes(const u8* data, const rle::Segment* segments, int count,
                                      int* status) {
    const int index = blockIdx.x * rle::SEGMENTS_PER_BLOCK + threadIdx.y;
    if (index >= count) return;
    const rle::Segment segment = segments[index];
    const int found = rle::decode_segment(data, segment, threadIdx.x, blockDim.x);
    if (found != rle::OK && threadIdx.x == 0) atomicMax(status + segment.frame, found);
}
