// What happens to finished products in registers: bias, post-operations, and the way to memory.
#pragma once

#include "../panels.h"

// What bias and post-operations have for the columns of a panel; 0 for its padding.
typedef struct {
  vector bias[MAX_PANEL], factors[CATENA_MAX_POST_OPERATIONS][MAX_PANEL];
} panel_channels;

// Those of `vectors` vectors from the destination's channel `column` on; the last one has `last_lanes` of them.
CATENA_INLINE void read_channels(
  const product_operands *at, int64_t column, int32_t vectors, int64_t last_lanes, panel_channels *channels
) {
  for (int32_t j = 0; j < vectors; j++) {
    int64_t first = column + j * LANES, lanes = j + 1 < vectors ? LANES : last_lanes;
    channels->bias[j] = at->bias == NULL ? (vector){0} : load_lanes(at->bias + first, lanes);
    for (int32_t i = 0; i < at->post_operation_count; i++) {
      if (at->post_operations[i].kind != CATENA_POST_MULTIPLY_CHANNEL) continue;
      channels->factors[i][j] = load_lanes((const float *)at->operands[i] + first, lanes);
    }
  }
}

// The lanes of vector j of VECTORS that are not padding.
#define LANES_OF(VECTORS) (j + 1 < VECTORS ? LANES : last_lanes)

#define EACH_SUM(VECTORS, ROWS, EXPRESSION) \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      vector value = sums[i][j]; \
      sums[i][j] = (EXPRESSION); \
    } \
  }
#define EACH_OF_1_16(EXPRESSION) EACH_SUM(1, 16, EXPRESSION)
#define EACH_OF_1_14(EXPRESSION) EACH_SUM(1, 14, EXPRESSION)
#define EACH_OF_2_14(EXPRESSION) EACH_SUM(2, 14, EXPRESSION)
#define EACH_OF_2_12(EXPRESSION) EACH_SUM(2, 12, EXPRESSION)
#define EACH_OF_2_8(EXPRESSION) EACH_SUM(2, 8, EXPRESSION)
#define EACH_OF_3_8(EXPRESSION) EACH_SUM(3, 8, EXPRESSION)
#define EACH_OF_3_7(EXPRESSION) EACH_SUM(3, 7, EXPRESSION)
#define EACH_OF_4_6(EXPRESSION) EACH_SUM(4, 6, EXPRESSION)
#define EACH_OF_4_4(EXPRESSION) EACH_SUM(4, 4, EXPRESSION)

// Whether row number ROW of those that a product does at a time is one of the results.
#define EXISTS(ROW) (existing >> (ROW) & 1)

// Vector j of VECTORS of a row of an image: what lies behind the row's last channel is in memory too, unless the image
// ends there.
#define LOAD_ROW(IMAGE, VECTORS, IS_BFLOAT16) \
  load_lanes_from(IMAGE, places[i] + j * LANES, IS_BFLOAT16, is_inside ? LANES : LANES_OF(VECTORS))

// Bias and post-operations on sums[ROWS][VECTORS] and their stores. A bit of `existing` is set for every row that is a
// result: row i belongs to element places[i] of the destination, of ELEMENTS in all and CHANNELS in a pixel, and none
// lies behind `last_place`; rows that are none have the place of one. `channels` are those of the panel, whose
// last vector has `last_lanes` columns. IS_BFLOAT16: what images are kept in; ROUNDS: whether this is compiled for a
// processor that rounds to it itself.
//
// Where rows lie one behind the other, a row's padding is written over by the next row, whose operands were read before;
// it must not reach beyond that row.
#define STORE_RESULTS(VECTORS, ROWS, AT, ELEMENTS, CHANNELS, IS_BFLOAT16, ROUNDS) \
  const product_operands *at = (AT); \
  if (at->bias != NULL) { EACH_OF_##VECTORS##_##ROWS(value + channels->bias[j]) } \
  bool is_inside = last_place + VECTORS * LANES <= (ELEMENTS); \
  for (int32_t number = 0; number < at->post_operation_count; number++) { \
    /* A copy: with narrow registers, products are slower where this is memory that stores may change. */ \
    vector factors[VECTORS]; \
    if (at->post_operations[number].kind == CATENA_POST_MULTIPLY_CHANNEL) { \
      UNROLL for (int32_t j = 0; j < VECTORS; j++) factors[j] = channels->factors[number][j]; \
    } \
    POST_PROCESS( \
      &at->post_operations[number], EACH_OF_##VECTORS##_##ROWS, factors[j], \
      LOAD_ROW(at->operands[number], VECTORS, IS_BFLOAT16), LOAD_ROW(at->destination, VECTORS, IS_BFLOAT16)) \
  } \
  bool is_whole = last_lanes == LANES; \
  bool can_overrun = (CHANNELS) == (VECTORS - 1) * LANES + last_lanes && LANES - last_lanes <= (CHANNELS); \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    if (!EXISTS(i)) continue; \
    int32_t next_row = i + 1 < ROWS ? i + 1 : i; \
    bool is_followed = can_overrun && i + 1 < ROWS && EXISTS(next_row) && places[next_row] == places[i] + (CHANNELS); \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      bool runs_over = is_whole || is_followed || j + 1 < VECTORS; \
      store_lanes_to( \
        at->destination, places[i] + j * LANES, sums[i][j], IS_BFLOAT16, ROUNDS, runs_over ? LANES : last_lanes); \
    } \
  }
