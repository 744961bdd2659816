/*
 * kernel.c - inner products, by AVX2 where there is one, behind FAISS's own symbols (see kernel.h).
 *
 * The generic kernel keeps eight sums, so that a compiler may use SSE or NEON for it without
 * changing its result.  The four-row form calls the one-row form four times: scores must not depend
 * on the path that computed them.
 */
#include "services/indexer/kernel.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float kernel(const float *x, const float *y, size_t dimension);

static float
generic_inner_product(const float *x, const float *y, size_t dimension)
{
    float sums[8] = { 0 };
    float rest = 0;
    size_t i = 0;

    for (; i + 8 <= dimension; i += 8)
        for (size_t lane = 0; lane < 8; lane++)
            sums[lane] += x[i + lane] * y[i + lane];
    for (; i < dimension; i++)
        rest += x[i] * y[i];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) +
        ((sums[2] + sums[6]) + (sums[3] + sums[7])) + rest;
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static float
sum_of_lanes(__m256 lanes)
{
    const __m128 halves =
        _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 pairs = _mm_add_ps(halves, _mm_movehl_ps(halves, halves));

    return _mm_cvtss_f32(_mm_add_ss(pairs, _mm_movehdup_ps(pairs)));
}

/* Four sums, because one addition takes four cycles and two may begin in each. */
__attribute__((target("avx2,fma"))) static float
avx2_inner_product(const float *x, const float *y, size_t dimension)
{
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    size_t i = 0;

    for (; i + 32 <= dimension; i += 32) {
        a = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), a);
        b = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), b);
        c = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 16), _mm256_loadu_ps(y + i + 16), c);
        d = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 24), _mm256_loadu_ps(y + i + 24), d);
    }
    for (; i + 8 <= dimension; i += 8)
        a = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), a);

    float rest = 0;
    for (; i < dimension; i++)
        rest += x[i] * y[i];
    return sum_of_lanes(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d))) + rest;
}

static bool
processor_has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
#define avx2_inner_product generic_inner_product

static bool
processor_has_avx2(void)
{
    return false;
}
#endif

static kernel *chosen = generic_inner_product;

/* Before main: no thread can see the choice change. */
__attribute__((constructor)) static void
choose_kernel(void)
{
    const char *wish = getenv("WEIR_KERNEL");

    if (processor_has_avx2() && (wish == NULL || strcmp(wish, "generic") != 0))
        chosen = avx2_inner_product;
}

float
indexer_inner_product(const float *x, const float *y, size_t dimension)
{
    return chosen(x, y, dimension);
}

const char *
indexer_kernel_name(void)
{
    return chosen == generic_inner_product ? "generic" : "avx2";
}

/* What --wrap makes of faiss::fvec_inner_product and faiss::fvec_inner_product_batch_4. */
float __wrap__ZN5faiss18fvec_inner_productEPKfS1_m(const float *x, const float *y,
    size_t dimension);
void __wrap__ZN5faiss26fvec_inner_product_batch_4EPKfS1_S1_S1_S1_mRfS2_S2_S2_(const float *x,
    const float *y0, const float *y1, const float *y2, const float *y3, size_t dimension,
    float *out0, float *out1, float *out2, float *out3);

float
__wrap__ZN5faiss18fvec_inner_productEPKfS1_m(const float *x, const float *y, size_t dimension)
{
    return chosen(x, y, dimension);
}

void
__wrap__ZN5faiss26fvec_inner_product_batch_4EPKfS1_S1_S1_S1_mRfS2_S2_S2_(const float *x,
    const float *y0, const float *y1, const float *y2, const float *y3, size_t dimension,
    float *out0, float *out1, float *out2, float *out3)
{
    *out0 = chosen(x, y0, dimension);
    *out1 = chosen(x, y1, dimension);
    *out2 = chosen(x, y2, dimension);
    *out3 = chosen(x, y3, dimension);
}
