// What happens to finished products in registers: bias, post-operations, and the way to memory.
#pragma once

#include "panels.h"

// The lanes of vector j of VECTORS that are not padding.
#define LANES_OF(VECTORS) (j + 1 < VECTORS ? LANES : last_lanes)

#define EACH_SUM(VECTORS, ROWS, EXPRESSION) \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      vector value = sums[i][j]; \
      sums[i][j] = (EXPRESSION); \
    } \
  }
#define EACH_OF_1(EXPRESSION) EACH_SUM(1, 14, EXPRESSION)
#define EACH_OF_2(EXPRESSION) EACH_SUM(2, 12, EXPRESSION)
#define EACH_OF_3(EXPRESSION) EACH_SUM(3, 8, EXPRESSION)
#define EACH_OF_4(EXPRESSION) EACH_SUM(4, 6, EXPRESSION)

// Vector j of VECTORS of a row of an image: what lies behind the row's last channel is in memory too, unless the image
// ends there.
#define LOAD_ROW(IMAGE, VECTORS) \
  (is_inside ? load((const float *)(IMAGE) + places[i] + j * LANES) \
             : load_lanes((const float *)(IMAGE) + places[i] + j * LANES, LANES_OF(VECTORS)))

// The post-operations from number FIRST on sums[ROWS][VECTORS], of which the first `here` rows exist: row i belongs to
// element places[i] of the destination, of ELEMENTS in all; its first column is the destination's channel `column`, and
// its last vector has `last_lanes` columns. EACH is EACH_SUM for these rows.
#define POST_OPERATIONS(EACH, VECTORS, AT, FIRST, ELEMENTS) \
  bool is_inside = places[here - 1] + VECTORS * LANES <= (ELEMENTS); \
  for (int32_t number = (FIRST); number < (AT)->post_operation_count; number++) { \
    const float *operand = (AT)->operands[number]; \
    if ((AT)->post_operations[number].kind == CATENA_POST_MULTIPLY_CHANNEL) { \
      UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
        channel[j] = load_lanes(operand + column + j * LANES, LANES_OF(VECTORS)); \
      } \
    } \
    POST_PROCESS( \
      &(AT)->post_operations[number], EACH, channel[j], LOAD_ROW(operand, VECTORS), \
      LOAD_ROW((AT)->destination, VECTORS)) \
  }

// Stores them, CHANNELS in a pixel of the destination.
//
// Where rows lie one behind the other, a row's padding is written over by the next row, whose operands were read before;
// it must not reach beyond that row.
#define STORE_SUMS(VECTORS, ROWS, AT, CHANNELS) \
  bool is_whole = last_lanes == LANES; \
  bool can_overrun = (CHANNELS) == (VECTORS - 1) * LANES + last_lanes && LANES - last_lanes <= (CHANNELS); \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    if (i >= here) break; \
    int32_t next_row = i + 1 < ROWS ? i + 1 : i; \
    bool is_followed = can_overrun && i + 1 < here && places[next_row] == places[i] + (CHANNELS); \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      float *to = (float *)(AT)->destination + places[i] + j * LANES; \
      if (is_whole || is_followed || j + 1 < VECTORS) { \
        store(to, sums[i][j]); \
      } else { \
        store_part(to, sums[i][j], last_lanes); \
      } \
    } \
  }

// Bias, post-operations and stores of as many rows as a product has.
#define STORE_RESULTS(VECTORS, ROWS, AT, ELEMENTS, CHANNELS) \
  const product_operands *at = (AT); \
  vector channel[VECTORS]; \
  if (at->bias != NULL) { \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      channel[j] = load_lanes(at->bias + column + j * LANES, LANES_OF(VECTORS)); \
    } \
    EACH_OF_##VECTORS(value + channel[j]) \
  } \
  POST_OPERATIONS(EACH_OF_##VECTORS, VECTORS, at, 0, ELEMENTS) \
  STORE_SUMS(VECTORS, ROWS, at, CHANNELS)
