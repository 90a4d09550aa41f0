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
CATENA_INLINE vector broadcast(float value) { return (vector){0} + value; }

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

// One post-operation on every result: EACH is a macro that evaluates its argument for each `value`, FACTOR and ADDEND
// are what the value is multiplied by or added to, SUM is what the destination held.
#define POST_PROCESS(OPERATION, EACH, FACTOR, ADDEND, SUM) \
  { \
    const catena_post_operation *post = (OPERATION); \
    vector low = broadcast(post->alpha), high = broadcast(post->beta), zero = {0}; \
    switch (post->kind) { \
    case CATENA_POST_ELTWISE: \
      if (post->function == CATENA_ELTWISE_CLIP) { \
        EACH(__builtin_elementwise_min(__builtin_elementwise_max(value, low), high)); \
      } else if (post->alpha == 0) { \
        EACH(__builtin_elementwise_max(value, zero)); \
      } else { \
        EACH(__builtin_elementwise_max(value, zero) + low * __builtin_elementwise_min(value, zero)); \
      } \
      break; \
    case CATENA_POST_SUM: EACH(value + (SUM)); break; \
    case CATENA_POST_MULTIPLY_CHANNEL: EACH(value * (FACTOR)); break; \
    case CATENA_POST_ADD_TENSOR: EACH(value + (ADDEND)); break; \
    } \
  }
