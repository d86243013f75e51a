// Run recorded launches under sanitizers: each segment and each frame in memory of exactly its size.
//
// Reads launches from a file (kernels_on_host.py: Recorder) until its end, and prints the status of
// each frame. Anything that a sanitizer finds ends the program.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels.cpp"

struct Frame {
    u64 address, bytes;
};
struct Launch {
    u64 kernel, segments, frames, data_bytes;
};

static void read(std::FILE* file, void* to, size_t bytes) {
    if (bytes && std::fread(to, 1, bytes, file) != bytes) std::exit(2);
}

// A block on the heap of exactly that size, so that a sanitizer sees the first byte beyond it.
static std::unique_ptr<u8[]> block(size_t bytes) { return std::unique_ptr<u8[]>(new u8[bytes]()); }

template <typename Segment>
static void replay(const Launch& launched, std::FILE* file) {
    std::vector<Segment> segments(launched.segments);
    std::vector<Frame> frames(launched.frames);
    std::vector<int> status(launched.frames);
    std::vector<u8> data(launched.data_bytes);
    read(file, segments.data(), segments.size() * sizeof(Segment));
    read(file, frames.data(), frames.size() * sizeof(Frame));
    read(file, data.data(), data.size());
    std::vector<std::unique_ptr<u8[]>> memory;
    for (const Frame& frame : frames) memory.push_back(block(frame.bytes));
    for (Segment segment : segments) {
        if (segment.data + segment.bytes > data.size()) std::exit(3);
        auto own = block(segment.bytes);
        std::memcpy(own.get(), data.data() + segment.data, segment.bytes);
        segment.data = 0;
        const u64 first = frames[segment.frame].address;
        segment.out = segment.out - first + (u64)memory[segment.frame].get();
        launch((int)launched.kernel, 1, 2, 1, own.get(), &segment, 1, status.data());
    }
    for (const int found : status) std::printf("%d\n", found);
}

int main(int count, char** names) {
    std::FILE* file = count == 2 ? std::fopen(names[1], "rb") : nullptr;
    if (!file) return 2;
    Launch launched;
    while (std::fread(&launched, sizeof launched, 1, file) == 1) {
        if (launched.kernel < (u64)RLE)
            replay<jpegls::Segment>(launched, file);
        else
            replay<rle::Segment>(launched, file);
    }
    std::fclose(file);
    return 0;
}
