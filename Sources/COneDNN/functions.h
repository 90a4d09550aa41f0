// Functions of one f32 in a form that compilers vectorise.
#pragma once

#include "program.h"

#include <math.h>

// e^x = 2^n (1 + p) with n an integer and p = e^r - 1, |r| <= ln(2) / 2.
typedef struct {
  float p, half, other_half;
} catena_exponential;

CATENA_INLINE catena_exponential catena_split_exponential(float x) {
  // Beyond these the result is 0 or infinite; a NaN passes both comparisons.
  x = x < -120.0f ? -120.0f : x;
  x = x > 100.0f ? 100.0f : x;
  // Adding 1.5 * 2^23 leaves the nearest integer in the low bits.
  float shifted = x * 1.44269504088896340736f + 12582912.0f;
  float n = shifted - 12582912.0f;
  float r = x - n * 0.693145751953125f;
  r = r - n * 1.42860682030941723212e-6f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r * r + r;
  int32_t bits;
  memcpy(&bits, &shifted, sizeof bits);
  int32_t power = bits - 0x4b400000;
  // 2^n as two factors, so that results below the normal range come out right.
  int32_t half = power >> 1;
  int32_t low = (half + 127) << 23, high = (power - half + 127) << 23;
  catena_exponential result = {.p = p};
  memcpy(&result.half, &low, sizeof low);
  memcpy(&result.other_half, &high, sizeof high);
  return result;
}

CATENA_INLINE float catena_exp(float x) {
  catena_exponential e = catena_split_exponential(x);
  return (e.p * e.half + e.half) * e.other_half;
}

// e^x - 1 without cancellation.
CATENA_INLINE float catena_expm1(float x) {
  catena_exponential e = catena_split_exponential(x);
  float power = e.half * e.other_half;
  return power > 0x1p60f ? (e.p * e.half + e.half) * e.other_half : e.p * power + (power - 1.0f);
}

CATENA_INLINE float catena_sigmoid(float x) {
  float e = catena_exp(x < 0 ? x : -x);
  return (x < 0 ? e : 1.0f) / (1.0f + e);
}

CATENA_INLINE float catena_tanh(float x) {
  float m = catena_expm1(x > 0 ? -2.0f * x : 2.0f * x);
  float t = -m / (m + 2.0f);
  return x != x ? x : x < 0 ? -t : t;
}

CATENA_INLINE float catena_softplus(float x) { return (x > 0 ? x : 0.0f) + log1pf(catena_exp(x > 0 ? -x : x)); }
CATENA_INLINE float catena_gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752440f)); }

CATENA_INLINE float catena_gelu_slope(float x) {
  return 0.5f * (1.0f + erff(x * 0.70710678118654752440f)) + x * 0.39894228040143267794f * catena_exp(-0.5f * x * x);
}

CATENA_INLINE float catena_gelu_tanh(float x) {
  return 0.5f * x * (1.0f + catena_tanh(0.79788456080286535588f * (x + 0.044715f * x * x * x)));
}

CATENA_INLINE float catena_gelu_tanh_slope(float x) {
  float t = catena_tanh(0.79788456080286535588f * (x + 0.044715f * x * x * x));
  float inner = 0.79788456080286535588f * (1.0f + 0.134145f * x * x);
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * inner;
}
