// One step of AdamW over a parameter, in one pass over memory, that leaves alone what no gradient has ever reached.
//
// Both moments of such a row are zero, so a step is weight decay and nothing else: of an embedding of a vocabulary most
// rows are never met, of layers beyond a sub-model none. A step of torch's reads and writes all four tensors, and its
// gradients are made zero by another pass. Here it is the same operations, fused and rounded as there, so the bits are
// torch's.
//
// p, g, m, v: (rows, columns) fp32. met: (rows), whether a gradient has reached a row. Plain C interface.

#include <cstdint>
#include <cstring>

namespace {

bool all_zero(const float* x, long count) {  // of either sign; a NaN is not
    uint32_t seen = 0;
    for (long i = 0; i < count; ++i) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        seen |= bits << 1;
    }
    return seen == 0;
}

struct Step {
    float rest1, beta2, rest2, size, root, epsilon;
};

void decay(float* p, long columns, float kept) {
    for (long c = 0; c < columns; ++c) p[c] *= kept;
}

void move(float* __restrict p, float* __restrict g, float* __restrict m, float* __restrict v, long columns, const Step& s) {
    for (long c = 0; c < columns; ++c) {
        const float first = s.rest1 < 0.5f ? __builtin_fmaf(s.rest1, g[c] - m[c], m[c])
                                           : __builtin_fmaf(s.rest1 - 1, g[c] - m[c], g[c]);
        const float second = __builtin_fmaf(g[c] * s.rest2, g[c], v[c] * s.beta2);
        m[c] = first;
        v[c] = second;
        p[c] -= s.size * first / (__builtin_sqrtf(second) / s.root + s.epsilon);
        g[c] = 0;
    }
}

}  // namespace

extern "C" {

// Which rows either moment of is not zero.
void adamw_met(const float* m, const float* v, uint8_t* met, long rows, long columns, int threads) {
#pragma omp parallel for num_threads(threads)
    for (long row = 0; row < rows; ++row)
        met[row] = !(all_zero(m + row * columns, columns) && all_zero(v + row * columns, columns));
}

// kept: share of a weight that decay leaves. size: rate / (1 − β₁ᵗ). root: √(1 − β₂ᵗ).
void adamw_step(float* p, float* g, float* m, float* v, uint8_t* met, long rows, long columns, float rest1, float beta2,
                float rest2, float size, float root, float epsilon, float kept, int decays, int threads) {
    const Step s{rest1, beta2, rest2, size, root, epsilon};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (long row = 0; row < rows; ++row) {
        const long at = row * columns;
        const bool moves = met[row] || !all_zero(g + at, columns);
        if (decays) decay(p + at, columns, kept);  // rounded before it is moved, hence apart
        if (moves) move(p + at, g + at, m + at, v + at, columns, s);
        met[row] = moves;
    }
}
}
