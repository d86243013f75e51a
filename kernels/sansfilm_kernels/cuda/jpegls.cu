// JPEG-LS (ITU-T T.87), lossless and near-lossless: one warp decodes one segment.
//
// A segment is a number of whole lines whose coding starts anew: a scan, or one restart interval of
// it. What a sample means depends on all samples before it, so there is nothing to share out within
// a segment: the first lane of the warp works and the others wait. Many frames make it fast.
//
// A segment may hold any bytes. Every loop ends with the samples that are still to come; a read
// beyond the last byte gives zeros and is noticed at the end of the line; no value leaves its range.
// Memory is touched only where the segment says, and the host has checked that (jpegls.py).
//
// Numbers in brackets are clauses of T.87. No header is included, so that NVRTC, nvcc and, for the
// tests, a C++ compiler take the same text.

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;

namespace jpegls {

// As in FrameStatus (_batch.py).
constexpr int OK = 0, TRUNCATED = 4, CORRUPT = 5, LEFT_OVER = 6;

constexpr int SEGMENTS_PER_BLOCK = 4;      // as in jpegls.py
constexpr int RUN_CONTEXTS = 365;          // 0..364 are the regular ones [A.3.4], then two [A.7.2]
constexpr int CONTEXTS = RUN_CONTEXTS + 2;
constexpr int MOST_PADDING = 7 + 8;
constexpr int LEAST_C = -128, MOST_C = 127;  // [A.6.2]

// J: a run is coded in pieces of 2**J pixels [A.2.1]
__constant__ u8 RUN_ORDER[32] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2,  2,  2,  3,  3,  3,  3,
                                 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15};

// As in jpegls.py: SEGMENT.
struct Segment {
    u64 data;         // offset of its first byte in the buffer of all codestreams
    u64 bytes;
    u64 out;          // address of its first sample
    i64 row_step;     // from a sample to the one below, in samples
    i64 column_step;  // to the next pixel
    i64 sample_step;  // to the next sample of the pixel
    int frame;        // whose status it is
    int rows;
    int columns;
    int planes;       // components that alternate line by line; 1 unless interleaved by line
    int maxval;       // [C.2.4.1.1]
    int near;
    int t1, t2, t3;
    int reset;
};
static_assert(sizeof(Segment) == 88, "jpegls.py has the same");

// The variables A, B, C, N of a context [A.2.1]; b is Nn in the two of run interruption.
struct Context {
    int a, b;
    short c;
    u16 n;
};

// The bits of a segment, highest first, without the zero that is stuffed in after a byte FF [A.1].
struct BitReader {
    const u8* next;
    const u8* end;
    u64 bits;      // the next `count` bits, from the top; zeros below
    int count;
    int invented;  // how many of the bits taken in so far are zeros from beyond the end
    bool after_ff;

    // An FF that is not followed by a stuffed zero begins a marker: the segment ends before it.
    __device__ bool at_end() const {
        return next == end || (*next == 0xFF && (next + 1 == end || next[1] >= 0x80));
    }

    __device__ void refill() {
        while (count <= 56) {
            const int width = after_ff ? 7 : 8;
            u32 byte = 0;
            if (at_end()) {
                end = next;
                invented += width;
            } else {
                byte = *next++;
            }
            after_ff = byte == 0xFF;
            bits |= (u64)byte << (64 - count - width);
            count += width;
        }
    }

    // Take `width` bits, 0..32.
    __device__ u32 read(int width) {
        if (count < width) refill();
        const u32 value = (u32)((bits >> 1) >> (63 - width));
        bits <<= width;
        count -= width;
        return value;
    }

    // Take the zeros before the next one, and the one; more than `most` zeros give `most + 1`.
    __device__ int zeros(int most) {
        int found = 0;
        while (true) {
            if (count < 32) refill();
            const int leading = __clzll((i64)bits);
            const int here = leading < count ? leading : count;
            found += here;
            if (found > most) return most + 1;
            if (here < count) {
                bits <<= here;
                bits <<= 1;
                count -= here + 1;
                return found;
            }
            bits = 0;
            count = 0;
        }
    }

    __device__ bool overrun() const { return count < invented; }

    // After the last sample zeros fill the byte, or follow an FF; and some encoders add a byte of
    // zeros to make the length even.
    __device__ int status_at_end() {
        refill();
        if (overrun()) return TRUNCATED;
        return count - invented > MOST_PADDING || bits != 0 ? LEFT_OVER : OK;
    }
};

struct Decoder {
    BitReader input;
    Context* contexts;
    int maxval, near, t1, t2, t3, reset;
    int step, range, qbpp, limit;
    bool corrupt;  // a code was met that no encoder writes

    // [A.2.1]
    __device__ Decoder(const Segment& segment, const u8* data, Context* memory)
        : input{data + segment.data, data + segment.data + segment.bytes, 0, 0, 0, false},
          contexts(memory),
          maxval(segment.maxval), near(segment.near),
          t1(segment.t1), t2(segment.t2), t3(segment.t3), reset(segment.reset),
          corrupt(false) {
        step = 2 * near + 1;
        range = (maxval + 2 * near) / step + 1;
        qbpp = 32 - __clz(range - 1);
        const int needed = 32 - __clz(maxval);
        const int bpp = needed < 2 ? 2 : needed;
        limit = 2 * (bpp + (bpp < 8 ? 8 : bpp));
        const int first = (range + 32) / 64;
        for (int i = 0; i < CONTEXTS; i++) contexts[i] = Context{first < 2 ? 2 : first, 0, 0, 1};
    }

    // Which of nine regions a local gradient lies in: -4..4 [A.3.3].
    __device__ int region(int gradient) const {
        const int size = gradient < 0 ? -gradient : gradient;
        const int found = (size > near) + (size >= t1) + (size >= t2) + (size >= t3);
        return gradient < 0 ? -found : found;
    }

    // The number of the context, negative where it is used mirrored; 0 where all is flat [A.3.4].
    __device__ int context_of(int ra, int rb, int rc, int rd) const {
        return (region(rd - rb) * 9 + region(rb - rc)) * 9 + region(rc - ra);
    }

    // The least k with n * 2**k >= a [A.5.1].
    __device__ static int golomb_parameter(u32 n, u32 a) {
        int k = __clz((int)n) - __clz((int)a);
        if (k < 0) k = 0;
        return (n << k) < a ? k + 1 : k;
    }

    // A mapped error [A.5.3]. The errors are modulo `range`, so none is larger [A.4.5].
    __device__ int mapped_error(int k, int longest) {
        const int escape = longest - qbpp - 1;
        const int prefix = input.zeros(escape);
        const u32 value =
            prefix < escape ? ((u32)prefix << k) + input.read(k) : input.read(qbpp) + 1;
        if (prefix > escape || value > (u32)range) {
            corrupt = true;
            return 0;
        }
        return (int)value;
    }

    // Add an error to its prediction, modulo the range of samples [A.4.5, A.8].
    __device__ int reconstruct(int predicted, int error) const {
        int value = predicted + error * step;
        if (value < -near) {
            value += range * step;
        } else if (value > maxval + near) {
            value -= range * step;
        }
        return value < 0 ? 0 : value > maxval ? maxval : value;
    }

    // A sample in regular mode [A.4 to A.6].
    __device__ int regular(int number, int ra, int rb, int rc) {
        const int sign = number >> 31;  // 0 or -1: (x ^ sign) - sign mirrors x
        Context& context = contexts[(number ^ sign) - sign];
        int a = context.a, b = context.b, c = context.c, n = context.n;

        const int low = ra < rb ? ra : rb, high = ra < rb ? rb : ra;  // [A.4.1]
        int predicted = rc >= high ? low : rc <= low ? high : ra + rb - rc;
        predicted += (c ^ sign) - sign;  // [A.4.2]
        predicted = predicted < 0 ? 0 : predicted > maxval ? maxval : predicted;

        const int k = golomb_parameter(n, a);
        const int mapped = mapped_error(k, limit);
        int error = (mapped >> 1) ^ -(mapped & 1);  // [A.5.2]
        if (near == 0 && k == 0 && 2 * b <= -n) error = ~error;

        b += error * step;  // [A.6.1]
        a += error < 0 ? -error : error;
        if (n == reset) {
            a >>= 1;
            b >>= 1;
            n >>= 1;
        }
        n++;
        if (b <= -n) {  // [A.6.2]
            b += n;
            if (c > LEAST_C) c--;
            if (b <= -n) b = 1 - n;
        } else if (b > 0) {
            b -= n;
            if (c < MOST_C) c++;
            if (b > 0) b = 0;
        }
        context = Context{a, b, (short)c, (u16)n};
        return reconstruct(predicted, (error ^ sign) - sign);
    }

    // How many pixels repeat the one before them, at most `left` [A.7.1].
    __device__ int run_length(int left, int& run_index) {
        int run = 0;
        while (input.read(1)) {
            const int piece = 1 << RUN_ORDER[run_index];
            if (piece > left - run) return left;  // the rest of the line, shorter than a piece
            run += piece;
            if (run_index < 31) run_index++;
            if (run == left) return run;
        }
        run += (int)input.read(RUN_ORDER[run_index]);
        if (run > left) {
            corrupt = true;
            return left;
        }
        return run;
    }

    // The sample that ends a run; `alike`: its left and upper neighbours are [A.7.2].
    __device__ int interruption(bool alike, int ra, int rb, int run_index) {
        Context& context = contexts[RUN_CONTEXTS + alike];
        int a = context.a, negative = context.b, n = context.n;

        const int k = golomb_parameter(n, alike ? a + (n >> 1) : a);
        const int mapped = mapped_error(k, limit - RUN_ORDER[run_index] - 1);
        const int twice = mapped + alike;
        const bool odd = twice & 1;
        int error = (twice + 1) >> 1;
        if ((k != 0 || 2 * negative >= n) == odd) error = -error;

        if (error < 0) negative++;
        a += (mapped + 1 - alike) >> 1;
        if (n == reset) {
            a >>= 1;
            negative >>= 1;
            n >>= 1;
        }
        n++;
        context = Context{a, negative, 0, (u16)n};
        return reconstruct(alike ? ra : rb, !alike && ra > rb ? -error : error);
    }
};

// Decode one line. `above` and `second` are the lines before it, null where they are not in the
// segment; `Samples` components are interleaved sample by sample [B.3.3]. Returns the run index.
template <typename Sample, int Samples>
__device__ int decode_line(Decoder& decoder, const Segment& at, Sample* line, const Sample* above,
                           const Sample* second, int run_index) {
    const auto place = [&](int column, int sample) {
        return column * at.column_step + sample * at.sample_step;
    };
    const auto upper = [&](int column, int sample) {
        return above ? (int)above[place(column, sample)] : 0;
    };
    int ra[Samples], rb[Samples], rc[Samples], rd[Samples], number[Samples];
    for (int s = 0; s < Samples; s++) {
        ra[s] = rb[s] = upper(0, s);  // [A.2.2]
        rc[s] = second ? (int)second[place(0, s)] : 0;
    }
    int column = 0;
    while (column < at.columns) {
        bool flat = true;
        for (int s = 0; s < Samples; s++) {
            rd[s] = column + 1 < at.columns ? upper(column + 1, s) : rb[s];
            number[s] = decoder.context_of(ra[s], rb[s], rc[s], rd[s]);
            flat = flat && number[s] == 0;
        }
        if (!flat) {
            for (int s = 0; s < Samples; s++) {
                ra[s] = decoder.regular(number[s], ra[s], rb[s], rc[s]);
                line[place(column, s)] = (Sample)ra[s];
                rc[s] = rb[s];
                rb[s] = rd[s];
            }
            column++;
            continue;
        }
        const int after = column + decoder.run_length(at.columns - column, run_index);
        for (; column < after; column++) {
            for (int s = 0; s < Samples; s++) line[place(column, s)] = (Sample)ra[s];
        }
        if (column == at.columns) return run_index;
        for (int s = 0; s < Samples; s++) {
            rc[s] = upper(column, s);
            const int apart = ra[s] < rc[s] ? rc[s] - ra[s] : ra[s] - rc[s];
            const bool alike = Samples == 1 && apart <= decoder.near;
            ra[s] = decoder.interruption(alike, ra[s], rc[s], run_index);
            line[place(column, s)] = (Sample)ra[s];
        }
        if (run_index > 0) run_index--;
        column++;
        for (int s = 0; s < Samples; s++) rb[s] = column < at.columns ? upper(column, s) : 0;
    }
    return run_index;
}

// Decode one segment; returns its status.
template <typename Sample, int Samples>
__device__ int decode_segment(const u8* data, const Segment& segment, Context* contexts) {
    Decoder decoder(segment, data, contexts);
    int run_index[4] = {0, 0, 0, 0};  // of each component [B.3.2]
    for (int row = 0; row < segment.rows; row++) {
        for (int plane = 0; plane < segment.planes; plane++) {
            Sample* line = (Sample*)segment.out + row * segment.row_step
                + plane * segment.sample_step;
            const Sample* above = row > 0 ? line - segment.row_step : nullptr;
            const Sample* second = row > 1 ? line - 2 * segment.row_step : nullptr;
            run_index[plane] = decode_line<Sample, Samples>(
                decoder, segment, line, above, second, run_index[plane]);
            if (decoder.input.overrun()) return TRUNCATED;
            if (decoder.corrupt) return CORRUPT;
        }
    }
    return decoder.input.status_at_end();
}

template <typename Sample, int Samples>
__device__ void decode(const u8* data, const Segment* segments, int count, int* status) {
    __shared__ Context contexts[SEGMENTS_PER_BLOCK][CONTEXTS];
    const int index = blockIdx.x * SEGMENTS_PER_BLOCK + threadIdx.y;
    if (index >= count || threadIdx.x > 0) return;
    const Segment segment = segments[index];
    const int found = decode_segment<Sample, Samples>(data, segment, contexts[threadIdx.y]);
    if (found != OK) atomicMax(status + segment.frame, found);
}

}  // namespace jpegls

// One kernel for each size of a sample in memory and number of samples that alternate.
#define JPEGLS_KERNEL(name, Sample, Samples)                                                   \
    extern "C" __global__ void name(const u8* data, const jpegls::Segment* segments, int count, \
                                    int* status) {                                             \
        jpegls::decode<Sample, Samples>(data, segments, count, status);                        \
    }

JPEGLS_KERNEL(jpegls_8_1, u8, 1)
JPEGLS_KERNEL(jpegls_8_2, u8, 2)
JPEGLS_KERNEL(jpegls_8_3, u8, 3)
JPEGLS_KERNEL(jpegls_8_4, u8, 4)
JPEGLS_KERNEL(jpegls_16_1, u16, 1)
JPEGLS_KERNEL(jpegls_16_2, u16, 2)
JPEGLS_KERNEL(jpegls_16_3, u16, 3)
JPEGLS_KERNEL(jpegls_16_4, u16, 4)
