// Products of pairs in bf16, as AVX512-BF16 adds them to a sum in f32; a vector holds sixteen pairs. For files all of whose
// functions are compiled for it.
#pragma once

#include "../panels.h"

typedef uint16_t source_number;

// What a product takes of the source at a time; whether results round to bf16 by one instruction.
enum { NUMBERS_AT_A_TIME = 2, ROUNDS = true };

#define WRITES_BFLOAT16(STEP) ((STEP)->problem.writes_bfloat16)

CATENA_INLINE vector broadcast_numbers(const source_number *from) {
  float pair;
  memcpy(&pair, from, sizeof pair);
  return broadcast(pair);
}

typedef __bf16 pair_vector __attribute__((vector_size(2 * LANES * sizeof(uint16_t))));

CATENA_INLINE vector with_products(vector sum, vector left, vector right) {
  return (vector)__builtin_ia32_dpbf16ps_512(
    (__attribute__((vector_size(64))) float)sum, (pair_vector)left, (pair_vector)right);
}
