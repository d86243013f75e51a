// Run recorded launches of arrays.cpp under sanitizers, all in memory of exactly its size.
//
// Reads launches from a file (kernels_on_host.py: ArrayRecorder) until its end, and writes what they
// give to the standard output. Anything that a sanitizer finds ends the program.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "arrays.cpp"

struct Launch {
    u64 pyramid, kernel, blocks, threads;
    u64 data_bytes, itemsize, head_bytes, levels;
};

static void read(std::FILE* file, void* to, size_t bytes) {
    if (bytes && std::fread(to, 1, bytes, file) != bytes) std::exit(2);
}

using Bytes = std::unique_ptr<u8[]>;
static Bytes room(size_t bytes) { return Bytes(new u8[bytes]()); }

static void replay_window(const Launch& launch, std::FILE* file, const u8* data) {
    window::Curve curve;
    read(file, &curve, sizeof curve);
    const size_t count = launch.data_bytes / launch.itemsize;
    const size_t bytes = launch.kernel < 2 ? launch.data_bytes : count;
    auto out = room(bytes);
    launch_window((int)launch.kernel, launch.blocks, launch.threads, data, out.get(), (i64)count, &curve);
    std::fwrite(out.get(), 1, bytes, stdout);
}

static void replay_pyramid(const Launch& launch, std::FILE* file, const u8* data) {
    pyramid::Block block;
    std::vector<pyramid::Level> levels(launch.levels);
    read(file, &block, sizeof block);
    read(file, levels.data(), levels.size() * sizeof(pyramid::Level));
    auto scratch = room(launch.blocks * block.room * sizeof(pyramid::Sum));
    block.data = (u64)data;
    block.scratch = (u64)scratch.get();
    std::vector<Bytes> outputs;
    std::vector<size_t> sizes;
    for (pyramid::Level& level : levels) {
        size_t bytes = launch.itemsize;
        for (const int size : level.shape) bytes *= size;
        outputs.push_back(room(bytes));
        sizes.push_back(bytes);
        level.out = (u64)outputs.back().get();
    }
    launch_pyramid((int)launch.kernel, launch.blocks, launch.threads, &block, levels.data());
    for (size_t n = 0; n < levels.size(); n++) std::fwrite(outputs[n].get(), 1, sizes[n], stdout);
}

int main(int count, char** names) {
    std::FILE* file = count == 2 ? std::fopen(names[1], "rb") : nullptr;
    if (!file) return 2;
    Launch launch;
    while (std::fread(&launch, sizeof launch, 1, file) == 1) {
        auto data = room(launch.data_bytes);
        read(file, data.get(), launch.data_bytes);
        launch.pyramid ? replay_pyramid(launch, file, data.get()) : replay_window(launch, file, data.get());
    }
    std::fclose(file);
    return 0;
}
