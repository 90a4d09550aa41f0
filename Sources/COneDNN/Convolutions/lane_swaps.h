// Halves of pairs of vectors brought together, in four stages: what a transposition and sums across lanes are made of.
#pragma once

#include "../panels.h"

// STAGE(DISTANCE, LOW, HIGH): LOW takes the lanes of both vectors of a pair whose number lacks the bit DISTANCE, HIGH
// those that have it; the second vector's lanes come behind the first one's in each group of DISTANCE.
#define EACH_LANE_SWAP(STAGE) \
  STAGE(8, LANES_ARE(0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), \
    LANES_ARE(8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)) \
  STAGE(4, LANES_ARE(0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27), \
    LANES_ARE(4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31)) \
  STAGE(2, LANES_ARE(0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29), \
    LANES_ARE(2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31)) \
  STAGE(1, LANES_ARE(0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30), \
    LANES_ARE(1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31))
#define LANES_ARE(...) __VA_ARGS__

#define TRANSPOSE_STAGE(DISTANCE, LOW, HIGH) \
  UNROLL for (int32_t i = 0; i < LANES; i++) { \
    if (i & DISTANCE) continue; \
    vector upper = rows[i], lower = rows[i + DISTANCE]; \
    rows[i] = __builtin_shufflevector(upper, lower, LOW); \
    rows[i + DISTANCE] = __builtin_shufflevector(upper, lower, HIGH); \
  }

// Lane j of vector i becomes lane i of vector j.
CATENA_INLINE void transpose(vector rows[LANES]) { EACH_LANE_SWAP(TRANSPOSE_STAGE) }
