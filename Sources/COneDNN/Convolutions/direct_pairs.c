// The products of direct convolutions in bf16.
#include "../program.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("arch=x86-64-v4,avx512bf16"))), apply_to = function)
#include "products_of_pairs.h"

#include "direct_products.h"

void catena_multiply_band_of_pairs(result_band *band, void *memory) { multiply_band(band, memory); }
#pragma clang attribute pop

bool catena_can_multiply_pairs(void) { return catena_can_round(); }
#else
#include "products_of_floats.h"

#include "direct_products.h"

void catena_multiply_band_of_pairs(result_band *band, void *memory) {
  (void)band;
  (void)memory;
}

bool catena_can_multiply_pairs(void) { return false; }
#endif
