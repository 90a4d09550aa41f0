// Pixels of few channels: vectors of sixteen pixels' values of one channel, and vectors of pixels whose channels lie side
// by side, in groups of 1, 2, 4, 8 or 16.
#pragma once

#include "lane_swaps.h"

typedef float eight_floats __attribute__((vector_size(8 * sizeof(float)), aligned(sizeof(float))));
typedef float four_floats __attribute__((vector_size(4 * sizeof(float)), aligned(sizeof(float))));

#define ZIP_LOW LANES_ARE(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH LANES_ARE(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#define EVEN_LANES LANES_ARE(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD_LANES LANES_ARE(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define SHUFFLED(LEFT, RIGHT, ORDER) __builtin_shufflevector(LEFT, RIGHT, ORDER)

// COUNT vectors of a channel each to pixels, and back: a perfect shuffle of all their lanes for each of STAGES bits.
#define GROUPS_BY_SHUFFLES(COUNT, STAGES) \
  CATENA_INLINE void pixels_of_channels_##COUNT(vector rows[COUNT]) { \
    UNROLL for (int32_t stage = 0; stage < STAGES; stage++) { \
      vector before[COUNT]; \
      UNROLL for (int32_t i = 0; i < COUNT; i++) before[i] = rows[i]; \
      UNROLL for (int32_t i = 0; i < COUNT / 2; i++) { \
        rows[2 * i] = SHUFFLED(before[i], before[i + COUNT / 2], ZIP_LOW); \
        rows[2 * i + 1] = SHUFFLED(before[i], before[i + COUNT / 2], ZIP_HIGH); \
      } \
    } \
  } \
  CATENA_INLINE void channels_of_pixels_##COUNT(vector rows[COUNT]) { \
    UNROLL for (int32_t stage = 0; stage < STAGES; stage++) { \
      vector before[COUNT]; \
      UNROLL for (int32_t i = 0; i < COUNT; i++) before[i] = rows[i]; \
      UNROLL for (int32_t i = 0; i < COUNT / 2; i++) { \
        rows[i] = SHUFFLED(before[2 * i], before[2 * i + 1], EVEN_LANES); \
        rows[i + COUNT / 2] = SHUFFLED(before[2 * i], before[2 * i + 1], ODD_LANES); \
      } \
    } \
  }

CATENA_INLINE void pixels_of_channels_1(vector rows[1]) { (void)rows; }
CATENA_INLINE void channels_of_pixels_1(vector rows[1]) { (void)rows; }
GROUPS_BY_SHUFFLES(2, 1)
GROUPS_BY_SHUFFLES(4, 2)
GROUPS_BY_SHUFFLES(8, 3)
CATENA_INLINE void pixels_of_channels_16(vector rows[LANES]) { transpose(rows); }
CATENA_INLINE void channels_of_pixels_16(vector rows[LANES]) { transpose(rows); }

// A vector of pixels `stride` floats apart, whose whole groups are in memory.
#define LOAD_SINGLY(GROUP) \
  if (stride == GROUP) return load(from); \
  float values[LANES]; \
  UNROLL for (int32_t i = 0; i < LANES / GROUP; i++) { \
    memcpy(values + i * GROUP, from + i * stride, GROUP * sizeof(float)); \
  } \
  return load(values);

CATENA_INLINE vector load_pixels_1(const float *from, int64_t stride) { LOAD_SINGLY(1) }
CATENA_INLINE vector load_pixels_2(const float *from, int64_t stride) { LOAD_SINGLY(2) }
CATENA_INLINE vector load_pixels_16(const float *from, int64_t stride) {
  (void)stride;
  return load(from);
}

CATENA_INLINE vector load_pixels_8(const float *from, int64_t stride) {
  eight_floats first = *(const eight_floats *)from, second = *(const eight_floats *)(from + stride);
  return __builtin_shufflevector(first, second, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

CATENA_INLINE vector load_pixels_4(const float *from, int64_t stride) {
  if (stride == 4) return load(from);
  const four_floats *first = (const four_floats *)from, *second = (const four_floats *)(from + stride);
  const four_floats *third = (const four_floats *)(from + 2 * stride), *fourth = (const four_floats *)(from + 3 * stride);
  eight_floats low = __builtin_shufflevector(*first, *second, 0, 1, 2, 3, 4, 5, 6, 7);
  eight_floats high = __builtin_shufflevector(*third, *fourth, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// The first `count` pixels of a vector or, where there are fewer, all: whole groups, `stride` floats apart, the first first.
#define STORE_GROUPS(GROUP) \
  CATENA_INLINE void store_pixels_##GROUP(float *to, vector value, int64_t stride, int32_t count) { \
    if (count >= LANES / GROUP && (GROUP == LANES || stride == GROUP)) return store(to, value); \
    if (count <= 0) return; \
    float values[LANES]; \
    store(values, value); \
    UNROLL for (int32_t i = 0; i < LANES / GROUP; i++) { \
      if (i < count) memcpy(to + i * stride, values + i * GROUP, GROUP * sizeof(float)); \
    } \
  }
STORE_GROUPS(1)
STORE_GROUPS(2)
STORE_GROUPS(4)
STORE_GROUPS(8)
STORE_GROUPS(16)

// `count` floats of a group that is not smaller than half of COUNT.
CATENA_INLINE void copy_group_1(float *to, const float *from, int64_t count) {
  (void)count;
  *to = *from;
}
CATENA_INLINE void copy_group_2(float *to, const float *from, int64_t count) {
  (void)count;
  memcpy(to, from, 2 * sizeof(float));
}
CATENA_INLINE void copy_group_4(float *to, const float *from, int64_t count) {
  memcpy(to, from, 2 * sizeof(float));
  memcpy(to + count - 2, from + count - 2, 2 * sizeof(float));
}
CATENA_INLINE void copy_group_8(float *to, const float *from, int64_t count) {
  memcpy(to, from, 4 * sizeof(float));
  memcpy(to + count - 4, from + count - 4, 4 * sizeof(float));
}
CATENA_INLINE void copy_group_16(float *to, const float *from, int64_t count) {
  memcpy(to, from, 8 * sizeof(float));
  memcpy(to + count - 8, from + count - 8, 8 * sizeof(float));
}
