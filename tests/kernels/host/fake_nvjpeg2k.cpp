// A library with the functions of nvJPEG2000 that are used, and with nothing behind them: it writes
// values that follow from the codestream's bytes, when the host waits for the stream and not before,
// as a GPU might. Its image record is its own, written from NVIDIA's description of it.
//
// A comment in a codestream asks for what may go wrong: see `wants`. Wrong use is remembered.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

enum { SUCCESS, NOT_INITIALIZED, INVALID_PARAMETER, BAD_JPEG, JPEG_NOT_SUPPORTED, INTERNAL_ERROR = 8 };

struct Parsed {
    const uint8_t* data = nullptr;
    size_t length = 0;
    uint32_t rows = 0, columns = 0, components = 0, tile_rows = 0, tile_columns = 0;
    uint8_t precision = 0, sign = 0;
};
struct State {
    bool busy = false;
};
struct Params {
    int interleaved = 0;
};
struct Info {
    uint32_t width, height, tile_width, tile_height, tiles_x, tiles_y, components;
};
struct Component {
    uint32_t width, height;
    uint8_t precision, sign;
};
struct Image {
    void** data;
    size_t* pitch;
    int type;
    uint32_t components;
};
struct Job {
    State* state;
    Parsed parsed;
    Image image;
    bool interleaved;
    unsigned reduction;
};

static int version[3] = {0, 11, 0};
static std::set<void*> live;
static std::map<void*, std::vector<Job>> waiting;
static int wrong_uses = 0, most_waiting = 0;

template <typename T>
static int make(T** made) {
    live.insert(*made = new T);
    return SUCCESS;
}
template <typename T>
static int drop(T* made) {
    if (!live.erase(made)) return ++wrong_uses, INVALID_PARAMETER;
    delete made;
    return SUCCESS;
}
static uint32_t be(const uint8_t* at, int bytes) {
    uint32_t value = 0;
    while (bytes--) value = value << 8 | *at++;
    return value;
}
static bool wants(const Parsed& parsed, const char* what) {
    const std::string all((const char*)parsed.data, parsed.length);
    return all.find(std::string("sansfilm:") + what) != std::string::npos;
}

// The reduced size, rounded up.
static uint32_t less(uint32_t size, unsigned reduction) {
    return (size + (1u << reduction) - 1) >> reduction;
}

static void write(const Job& job) {
    const Parsed& parsed = job.parsed;
    uint32_t seed = 0;
    for (size_t i = 0; i < parsed.length; i++) seed += parsed.data[i];
    const size_t size = job.image.type == 0 ? 1 : 2;
    const uint32_t mask = (1u << parsed.precision) - 1;
    const bool flat = wants(parsed, "flat");
    for (uint32_t c = 0; c < parsed.components; c++)
        for (uint32_t y = 0; y < less(parsed.rows, job.reduction); y++)
            for (uint32_t x = 0; x < less(parsed.columns, job.reduction); x++) {
                uint32_t value = flat ? 1 : (seed + 7 * y + 3 * x + 50 * c + 1000 * job.reduction) & mask;
                if (parsed.sign) value -= (mask + 1) / 2;
                uint8_t* to = (uint8_t*)job.image.data[job.interleaved ? 0 : c];
                to += y * job.image.pitch[job.interleaved ? 0 : c];
                to += job.interleaved ? (x * parsed.components + c) * size : x * size;
                std::memcpy(to, &value, size);
            }
}

static int decode(State* state, Parsed* parsed, Params* params, unsigned reduction, Image* image,
                  void* stream) {
    const bool known = live.count(state) && live.count(parsed) && live.count(params);
    if (!known || state->busy || image->components != parsed->components || image->type < 0 ||
        image->type > 2)
        return ++wrong_uses, INVALID_PARAMETER;
    if (wants(*parsed, "refuse")) return JPEG_NOT_SUPPORTED;
    if (wants(*parsed, "break")) return INTERNAL_ERROR;
    state->busy = true;
    waiting[stream].push_back({state, *parsed, *image, params->interleaved == 1, reduction});
    int all = 0;
    for (const auto& each : waiting) all += (int)each.second.size();
    if (all > most_waiting) most_waiting = all;
    return SUCCESS;
}

extern "C" {
// For the tests: what a stream's synchronize does; 1 if the device fails.
int fake_synchronize(void* stream) {
    int failed = 0;
    for (const Job& job : waiting[stream]) {
        if (wants(job.parsed, "fail late"))
            failed = 1;
        else
            write(job);
        job.state->busy = false;
    }
    waiting.erase(stream);
    return failed;
}
int fake_live() { return (int)live.size(); }
int fake_wrong_uses() { return wrong_uses; }
int fake_most_waiting() { return most_waiting; }
void fake_version(int major, int minor) { version[0] = major, version[1] = minor; }

int nvjpeg2kGetProperty(int which, int* value) { return *value = version[which], SUCCESS; }
int nvjpeg2kCreateSimple(int** made) { return make(made); }
int nvjpeg2kDestroy(int* made) { return drop(made); }
int nvjpeg2kDecodeStateCreate(int* handle, State** made) {
    return live.count(handle) ? make(made) : (++wrong_uses, INVALID_PARAMETER);
}
int nvjpeg2kDecodeStateDestroy(State* made) { return drop(made); }
int nvjpeg2kStreamCreate(Parsed** made) { return make(made); }
int nvjpeg2kStreamDestroy(Parsed* made) { return drop(made); }
int nvjpeg2kDecodeParamsCreate(Params** made) { return make(made); }
int nvjpeg2kDecodeParamsDestroy(Params* made) { return drop(made); }
int nvjpeg2kDecodeParamsSetOutputFormat(Params* params, int format) {
    return params->interleaved = format, SUCCESS;
}
int nvjpeg2kStreamParse(int* handle, const uint8_t* data, size_t length, int metadata, int stream,
                        Parsed* parsed) {
    if (!live.count(handle) || !live.count(parsed) || metadata || stream)
        return ++wrong_uses, INVALID_PARAMETER;
    if (length < 50) return BAD_JPEG;
    *parsed = {data, length, be(data + 12, 4), be(data + 8, 4), be(data + 40, 2),
               be(data + 28, 4), be(data + 24, 4), 0, 0};
    parsed->precision = (data[42] & 0x7F) + 1;
    parsed->sign = data[42] >> 7;
    if (wants(*parsed, "parse")) return BAD_JPEG;
    if (wants(*parsed, "other")) parsed->columns++;
    return SUCCESS;
}
int nvjpeg2kStreamGetImageInfo(Parsed* parsed, Info* info) {
    const uint32_t wide = parsed->tile_columns, high = parsed->tile_rows;
    *info = {parsed->columns, parsed->rows, wide, high, (parsed->columns + wide - 1) / wide,
             (parsed->rows + high - 1) / high, parsed->components};
    return SUCCESS;
}
int nvjpeg2kStreamGetImageComponentInfo(Parsed* parsed, Component* info, uint32_t component) {
    if (component >= parsed->components) return ++wrong_uses, INVALID_PARAMETER;
    *info = {parsed->columns, parsed->rows, parsed->precision, parsed->sign};
    return SUCCESS;
}
int nvjpeg2kStreamGetResolutionsInTile(Parsed*, uint32_t, uint32_t* count) {
    return *count = 6, SUCCESS;
}
int nvjpeg2kDecodeImage(int*, State* state, Parsed* parsed, Params* params, Image* image,
                        void* stream) {
    return decode(state, parsed, params, 0, image, stream);
}
int nvjpeg2kDecodeTile(int*, State* state, Parsed* parsed, Params* params, uint32_t tile,
                       uint32_t resolutions, Image* image, void* stream) {
    if (tile) return ++wrong_uses, INVALID_PARAMETER;
    return decode(state, parsed, params, 6 - resolutions, image, stream);  // all have six
}
}
