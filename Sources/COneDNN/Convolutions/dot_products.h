// Direct convolutions of few results: vectors run along the source's channels, so that a vector of products is never mostly
// padding, and one pass over sixteen sums turns them into a vector of neighbouring results.
#pragma once

#include "bands.h"
#include "lane_swaps.h"

// Adds up the lanes of each of 16 vectors: lane i of the result is the sum of vector i.
#define FOLD(COUNT, LOW, HIGH) \
  UNROLL for (int32_t i = 0; i < COUNT; i++) { \
    sums[i] = __builtin_shufflevector(sums[i], sums[i + COUNT], LOW) \
      + __builtin_shufflevector(sums[i], sums[i + COUNT], HIGH); \
  }
#define ADD_LANES EACH_LANE_SWAP(FOLD)

// Channels of neighbouring pixels in a vector.
typedef struct {
  vector bias, factors[CATENA_MAX_POST_OPERATIONS];
} lane_patterns;

CATENA_INLINE vector repeated(const float *channels, int64_t count) {
  float values[LANES];
  for (int64_t i = 0; i < LANES; i++) values[i] = channels[i % count];
  return load(values);
}

CATENA_INLINE lane_patterns patterns_of(const direct_step *step) {
  const product_operands *at = &step->at;
  lane_patterns patterns = {0};
  int64_t count = step->problem.destination_channels;
  if (at->bias != NULL) patterns.bias = repeated(at->bias, count);
  for (int32_t i = 0; i < at->post_operation_count; i++) {
    if (at->post_operations[i].kind != CATENA_POST_MULTIPLY_CHANNEL) continue;
    patterns.factors[i] = repeated(at->operands[i], count);
  }
  return patterns;
}

// `pixels` groups of `count` floats, `stride` apart, one behind the other in a vector.
CATENA_INLINE vector load_spread(
  const void *image, int64_t place, int64_t pixels, int64_t count, int64_t stride, bool is_bfloat16
) {
  if (stride == count) return load_lanes_from(image, place, is_bfloat16, pixels * count);
  float values[LANES] = {0};
  for (int64_t i = 0; i < pixels; i++) {
    vector pixel = load_lanes_from(image, place + i * stride, is_bfloat16, count);
    for (int64_t j = 0; j < count; j++) values[i * count + j] = pixel[j];
  }
  return load(values);
}

CATENA_INLINE void store_spread(
  void *image, int64_t place, vector value, int64_t pixels, int64_t count, int64_t stride, bool is_bfloat16
) {
  if (stride == count) return store_lanes_to(image, place, value, is_bfloat16, ROUNDS, pixels * count);
  float values[2 * LANES] = {0};
  store(values, value);
  for (int64_t i = 0; i < pixels; i++) {
    store_lanes_to(image, place + i * stride, load(values + i * count), is_bfloat16, ROUNDS, count);
  }
}

CATENA_INLINE void finish_dots(
  const direct_step *step, const lane_patterns *patterns, vector value, int64_t place, int64_t pixels, int64_t count
) {
  const product_operands *at = &step->at;
  bool is_bfloat16 = WRITES_BFLOAT16(step);
  int64_t stride = step->plan.column_step * count;
  value += patterns->bias;
#define THE_VALUE(EXPRESSION) value = (EXPRESSION)
  for (int32_t number = 0; number < at->post_operation_count; number++) {
    POST_PROCESS(
      &at->post_operations[number], THE_VALUE, patterns->factors[number],
      load_spread(at->operands[number], place, pixels, count, stride, is_bfloat16),
      load_spread(at->destination, place, pixels, count, stride, is_bfloat16))
  }
#undef THE_VALUE
  store_spread(at->destination, place, value, pixels, count, stride, is_bfloat16);
}

#define DOT_PRODUCT(RESULTS, PIXELS) \
  CATENA_INLINE void dot_##RESULTS(const result_band *band, const lane_patterns *patterns) { \
    const direct_step *step = band->step; \
    int64_t columns = band->at->columns; \
    for (int64_t row = 0; row < band->rows; row++) { \
      for (int64_t column = 0; column < columns; column += PIXELS) { \
        int64_t here = catena_minimum(columns - column, PIXELS); \
        vector sums[LANES] = {0}; \
        const source_number *pixels[PIXELS]; \
        const float *next = band->weights; \
        UNROLL for (int32_t i = 0; i < PIXELS; i++) pixels[i] = source_of(band, row, column + (i < here ? i : 0)); \
        for (int32_t number = band->at->first_run; number < band->at->first_run + band->at->run_count; number++) { \
          int64_t begin = step->run_offsets[number]; \
          int64_t end = begin + step->plan.runs[number].taps * step->problem.source_channels; \
          for (int64_t k = begin; k < end; k += NUMBERS_AT_A_TIME * LANES, next += RESULTS * LANES) { \
            vector weights[RESULTS]; \
            UNROLL for (int32_t j = 0; j < RESULTS; j++) weights[j] = load(next + j * LANES); \
            UNROLL for (int32_t i = 0; i < PIXELS; i++) { \
              vector read = load((const float *)(pixels[i] + k)); \
              UNROLL for (int32_t j = 0; j < RESULTS; j++) { \
                sums[i * RESULTS + j] = with_products(sums[i * RESULTS + j], read, weights[j]); \
              } \
            } \
          } \
        } \
        ADD_LANES \
        finish_dots(step, patterns, sums[0], place_of(band, row, column), here, RESULTS); \
      } \
    } \
  }

DOT_PRODUCT(1, 16)
DOT_PRODUCT(2, 8)
DOT_PRODUCT(3, 5)
DOT_PRODUCT(4, 4)
DOT_PRODUCT(5, 3)
DOT_PRODUCT(6, 2)
DOT_PRODUCT(7, 2)
DOT_PRODUCT(8, 2)

CATENA_INLINE void run_dots(const result_band *band) {
  lane_patterns patterns = patterns_of(band->step);
  switch (band->step->problem.destination_channels) {
  case 1: dot_1(band, &patterns); break;
  case 2: dot_2(band, &patterns); break;
  case 3: dot_3(band, &patterns); break;
  case 4: dot_4(band, &patterns); break;
  case 5: dot_5(band, &patterns); break;
  case 6: dot_6(band, &patterns); break;
  case 7: dot_7(band, &patterns); break;
  default: dot_8(band, &patterns); break;
  }
}
