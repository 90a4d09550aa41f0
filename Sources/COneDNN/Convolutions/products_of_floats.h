// Products of numbers in f32, for the kernels that can multiply others as well.
#pragma once

#include "../panels.h"

typedef float source_number;

// What a product takes of the source at a time; whether results round to bf16 by one instruction.
enum { NUMBERS_AT_A_TIME = 1, ROUNDS = false };

#define WRITES_BFLOAT16(STEP) false

CATENA_INLINE vector broadcast_numbers(const source_number *from) { return broadcast(*from); }
CATENA_INLINE vector with_products(vector sum, vector left, vector right) { return sum + left * right; }
