// Products of a matrix by packed panels of columns, kept in registers, and the operations on results before they are
// stored.
#pragma once

#include "program.h"

// No vector crosses a call: every function that takes or returns one is inlined.
#pragma clang diagnostic ignored "-Wpsabi"

enum { LANES = 16, MAX_PANEL = 4 };

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

#define UNROLL _Pragma("clang loop unroll(full)")

CATENA_INLINE vector load(const float *from) { return *(const vector *)from; }
CATENA_INLINE void store(float *to, vector value) { *(vector *)to = value; }
CATENA_INLINE vector broadcast(float value) {
  return (vector){
    value, value, value, value, value, value, value, value, value, value, value, value, value, value, value, value};
}

// What a step of such products reads, writes, and does before it writes.
typedef struct {
  const void *source;
  const float *weights, *bias;
  void *destination;
  int32_t post_operation_count;
  catena_post_operation post_operations[CATENA_MAX_POST_OPERATIONS];
  const void *operands[CATENA_MAX_POST_OPERATIONS];
} product_operands;

CATENA_INLINE product_operands operands_of(
  const void *source, const float *packed, const float *bias, void *destination,
  const catena_post_operation *post_operations, int32_t post_operation_count, const void *const *operands
) {
  product_operands at = {source, packed, bias, destination, post_operation_count, {}, {}};
  for (int32_t i = 0; i < post_operation_count; i++) {
    at.post_operations[i] = post_operations[i];
    at.operands[i] = operands[i];
  }
  return at;
}

// Fewer numbers than a vector has, in as few moves as there are bits in their count.
#define MOVE(NUMBER, PART) \
  if (count & (PART)) { \
    memcpy(to, from, (PART) * sizeof(NUMBER)); \
    to += (PART); \
    from += (PART); \
  }
#define COPY_PART(NAME, NUMBER) \
  CATENA_INLINE void NAME(NUMBER *to, const NUMBER *from, int64_t count) { \
    MOVE(NUMBER, 8) \
    MOVE(NUMBER, 4) \
    MOVE(NUMBER, 2) \
    if (count & 1) *to = *from; \
  }

COPY_PART(copy_part, float)
COPY_PART(copy_half_part, uint16_t)

// The first `lanes` of a vector, which alone exist in memory.
CATENA_INLINE vector load_part(const float *from, int64_t lanes) {
  float values[LANES] = {0};
  copy_part(values, from, lanes);
  return load(values);
}

CATENA_INLINE void store_part(float *to, vector value, int64_t lanes) {
  float values[LANES];
  store(values, value);
  copy_part(to, values, lanes);
}

CATENA_INLINE vector load_lanes(const float *from, int64_t lanes) {
  return lanes == LANES ? load(from) : load_part(from, lanes);
}

// bf16 in memory: the upper halves of numbers in f32.
typedef uint32_t bit_vector __attribute__((vector_size(LANES * sizeof(uint32_t))));
typedef uint16_t half_vector __attribute__((vector_size(LANES * sizeof(uint16_t)), aligned(sizeof(uint16_t))));
typedef __bf16 bfloat16_vector __attribute__((vector_size(LANES * sizeof(uint16_t)), aligned(sizeof(uint16_t))));

static const bit_vector lane_numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

CATENA_INLINE vector load_bfloat16(const uint16_t *from) {
  return (vector)(__builtin_convertvector(*(const half_vector *)from, bit_vector) << 16);
}

// Nearest, ties to even; a NaN stays one. `rounds`: whether this is compiled for a processor that does so itself (where
// numbers below 2^-126 become 0).
CATENA_INLINE void store_bfloat16(uint16_t *to, vector value, bool rounds) {
  if (rounds) {
    *(bfloat16_vector *)to = __builtin_convertvector(value, bfloat16_vector);
    return;
  }
  bit_vector bits = (bit_vector)value, is_number = (bit_vector)(value == value);
  bit_vector rounded = bits + 0x7fff + ((bits >> 16) & 1);
  bits = ((rounded & is_number) | ((bits | 0x00400000) & ~is_number)) >> 16;
  *(half_vector *)to = __builtin_convertvector(bits, half_vector);
}

// The elements from number `index` of an image that is kept in f32 or in bf16.
CATENA_INLINE vector load_from(const void *image, int64_t index, bool is_bfloat16) {
  return is_bfloat16 ? load_bfloat16((const uint16_t *)image + index) : load((const float *)image + index);
}

CATENA_INLINE void store_to(void *image, int64_t index, vector value, bool is_bfloat16, bool rounds) {
  if (is_bfloat16) {
    store_bfloat16((uint16_t *)image + index, value, rounds);
  } else {
    store((float *)image + index, value);
  }
}

// The same of the first `lanes` elements, which alone exist in memory; the others are 0.
CATENA_INLINE vector load_lanes_from(const void *image, int64_t index, bool is_bfloat16, int64_t lanes) {
  if (lanes == LANES) return load_from(image, index, is_bfloat16);
  if (!is_bfloat16) return load_part((const float *)image + index, lanes);
  uint16_t values[LANES] = {0};
  copy_half_part(values, (const uint16_t *)image + index, lanes);
  return load_bfloat16(values);
}

CATENA_INLINE void store_lanes_to(
  void *image, int64_t index, vector value, bool is_bfloat16, bool rounds, int64_t lanes
) {
  if (lanes == LANES) {
    store_to(image, index, value, is_bfloat16, rounds);
  } else if (is_bfloat16) {
    uint16_t values[LANES];
    store_bfloat16(values, value, rounds);
    copy_half_part((uint16_t *)image + index, values, lanes);
  } else {
    store_part((float *)image + index, value, lanes);
  }
}

CATENA_INLINE int64_t quotient_rounded_up(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }
CATENA_INLINE int64_t rounded_up(int64_t number, int64_t unit) { return quotient_rounded_up(number, unit) * unit; }

// The columns of a panel: as many as a product does at a time. `columns_left` is a multiple of LANES.
CATENA_INLINE int64_t panel_width(int64_t columns_left) {
  return catena_minimum(columns_left, MAX_PANEL * LANES);
}

// Defines NAME_VECTORS: `ROWS` rows at a time of a matrix by a panel of `VECTORS` vectors of columns. BEGIN and END are
// macros over (VECTORS, ROWS) that see `context`, the number of the `first` row, how many there are `here`, and
// sums[ROWS][VECTORS], which the one sets and the other uses.
#define PANEL_PRODUCT(NAME, CONTEXT, VECTORS, ROWS, BEGIN, END) \
  CATENA_INLINE void NAME##_##VECTORS( \
    CONTEXT context, const float *left, int64_t left_stride, int64_t depth, const float *panel, int64_t count \
  ) { \
    for (int64_t first = 0; first < count; first += ROWS) { \
      vector sums[ROWS][VECTORS]; \
      const float *rows[ROWS]; \
      int64_t here = catena_minimum(count - first, ROWS); \
      UNROLL for (int32_t i = 0; i < ROWS; i++) rows[i] = left + (first + (i < here ? i : 0)) * left_stride; \
      BEGIN(VECTORS, ROWS) \
      for (int64_t k = 0; k < depth; k++) { \
        vector weights[VECTORS]; \
        UNROLL for (int32_t j = 0; j < VECTORS; j++) weights[j] = load(panel + (k * VECTORS + j) * LANES); \
        UNROLL for (int32_t i = 0; i < ROWS; i++) { \
          UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] += rows[i][k] * weights[j]; \
        } \
      } \
      END(VECTORS, ROWS) \
    } \
  }

// How many rows a product by a panel of that width does at a time, below.
CATENA_INLINE int64_t rows_at_a_time(int64_t width) {
  static const int64_t rows[MAX_PANEL] = {14, 12, 8, 6};
  return rows[width / LANES - 1];
}

// As many sums as the registers of the widest instruction set hold beside a panel's row.
#define PANEL_PRODUCTS(NAME, CONTEXT, BEGIN, END) \
  PANEL_PRODUCT(NAME, CONTEXT, 1, 14, BEGIN, END) \
  PANEL_PRODUCT(NAME, CONTEXT, 2, 12, BEGIN, END) \
  PANEL_PRODUCT(NAME, CONTEXT, 3, 8, BEGIN, END) \
  PANEL_PRODUCT(NAME, CONTEXT, 4, 6, BEGIN, END) \
  CATENA_INLINE void NAME( \
    CONTEXT context, int64_t width, const float *left, int64_t left_stride, int64_t depth, const float *panel, \
    int64_t count \
  ) { \
    switch (width / LANES) { \
    case 1: NAME##_1(context, left, left_stride, depth, panel, count); break; \
    case 2: NAME##_2(context, left, left_stride, depth, panel, count); break; \
    case 3: NAME##_3(context, left, left_stride, depth, panel, count); break; \
    default: NAME##_4(context, left, left_stride, depth, panel, count); break; \
    } \
  }

// Every lane's `value`, or `low` where it is less, `high` where it is more: a NaN stays one.
CATENA_INLINE vector chosen(bit_vector is_first, vector first, vector second) {
  return (vector)((is_first & (bit_vector)first) | (~is_first & (bit_vector)second));
}
CATENA_INLINE vector at_least(vector value, vector low) { return chosen((bit_vector)(value < low), low, value); }
CATENA_INLINE vector at_most(vector value, vector high) { return chosen((bit_vector)(value > high), high, value); }

// One post-operation on every result: EACH is a macro that evaluates its argument for each `value`, FACTOR and ADDEND
// are what the value is multiplied by or added to, SUM is what the destination held.
#define POST_PROCESS(OPERATION, EACH, FACTOR, ADDEND, SUM) \
  { \
    const catena_post_operation *post = (OPERATION); \
    vector low = broadcast(post->alpha), high = broadcast(post->beta), zero = {0}; \
    switch (post->kind) { \
    case CATENA_POST_ELTWISE: \
      if (post->function == CATENA_ELTWISE_CLIP) { \
        EACH(at_most(at_least(value, low), high)); \
      } else if (post->alpha == 0) { \
        EACH(at_least(value, zero)); \
      } else { \
        EACH(at_least(value, zero) + low * at_most(value, zero)); \
      } \
      break; \
    case CATENA_POST_SUM: EACH(value + (SUM)); break; \
    case CATENA_POST_MULTIPLY_CHANNEL: EACH(value * (FACTOR)); break; \
    case CATENA_POST_ADD_TENSOR: EACH(value + (ADDEND)); break; \
    } \
  }
