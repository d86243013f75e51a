// Modality rescale and VOI window in one pass (PS3.3 C.11.1, C.11.2.1.2, C.11.2.1.3).
//
// One thread makes one value after the other, a grid apart. Each operation is one that rounds to
// nearest and that no compiler joins with its neighbour to a fused multiply-add, in the order of
// window.py: so LINEAR and LINEAR_EXACT are those of NumPy in every bit. The tangens hyperbolicus
// of SIGMOID is the device's own.
//
// No header is included, so that NVRTC, nvcc and, for the tests, a C++ compiler take the same text.

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using u32 = unsigned int;
using i64 = long long;

namespace window {

constexpr int RAMP = 0, STEP = 1, SIGMOID = 2;  // as in window.py: Kind

// As in _window_cuda.py: CURVE.
struct Curve {
    double slope, intercept;  // stored values -> modality values
    double offset, scale;     // see Kind
    double low, high;
    int kind;
    int unused;
};
static_assert(sizeof(Curve) == 56, "_window_cuda.py has the same");

__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ inline float divide(float a, float b) { return __fdiv_rn(a, b); }
__device__ inline float tangens(float a) { return tanhf(a); }
__device__ inline double add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline double multiply(double a, double b) { return __dmul_rn(a, b); }
__device__ inline double divide(double a, double b) { return __ddiv_rn(a, b); }
__device__ inline double tangens(double a) { return tanh(a); }

template <typename T>
__device__ inline T shown(T value, const Curve& curve) {
    const T low = (T)curve.low, high = (T)curve.high;
    if (curve.kind == STEP) return value != value ? value : value > (T)curve.offset ? high : low;
    T unit = divide(add(value, -(T)curve.offset), (T)curve.scale);
    if (curve.kind == SIGMOID) {
        unit = multiply(add(tangens(unit), (T)1), (T)0.5);
    } else if (curve.kind == RAMP) {
        unit = add(unit, (T)0.5);
        if (unit < (T)0) unit = (T)0;  // neither comparison holds for NaN
        if (unit > (T)1) unit = (T)1;
    }
    if (curve.low == 0) return multiply(unit, high);
    return add(multiply(add((T)1, -unit), low), multiply(unit, high));
}

template <typename T>
__device__ void apply(const T* values, T* out, i64 count, const Curve& curve) {
    const i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
        out[i] = shown(values[i], curve);
}

// T: what is stored; M: float or double, in which the window is computed.
template <typename T, typename M>
__device__ void apply_to_grey(const T* stored, u8* out, i64 count, const Curve& curve) {
    const i64 step = (i64)gridDim.x * blockDim.x;
    for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const M value = (M)add(multiply((double)stored[i], curve.slope), curve.intercept);
        const M grey = shown(value, curve);
        out[i] = grey == grey ? (u8)add(grey, (M)0.5) : 0;
    }
}

}  // namespace window

#define WINDOW(T)                                                                           \
    extern "C" __global__ void window_##T(const T* values, T* out, i64 count,               \
                                          const window::Curve* curve) {                     \
        window::apply(values, out, count, *curve);                                          \
    }
#define GREY(NAME, T, M)                                                                    \
    extern "C" __global__ void grey_##NAME(const T* stored, u8* out, i64 count,             \
                                           const window::Curve* curve) {                    \
        window::apply_to_grey<T, M>(stored, out, count, *curve);                            \
    }

typedef float float32;
typedef double float64;
WINDOW(float32)
WINDOW(float64)
GREY(int8, i8, float)
GREY(uint8, u8, float)
GREY(int16, i16, float)
GREY(uint16, u16, float)
GREY(int32, int, float)
GREY(uint32, u32, float)
GREY(float32, float, float)
GREY(float64, double, double)
