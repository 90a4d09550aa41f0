// Direct convolutions whose vectors run along the results: every number of a pixel's source, or every pair of them, meets a
// vector of weights. A group of pixels at equal distances, some of a line and as many of the lines below, is computed at a
// time.
#pragma once

#include "bands.h"

// MARK: Groups

enum {
  // Pixels of a line come in fours, the last of them with fewer where a line of the group ends.
  QUAD = 4,
  MAX_RUN = 16,
  MAX_GROUP_LINES = 4,
};

// Pixels of a group side by side, and lines.
typedef struct {
  int32_t run, lines;
} group_shape;

// The groups for panels of so many vectors: as many sums as the registers of the widest instruction set hold beside the
// weights. Widths of 2^n and of 7 x 2^n, as images have, leave no pixel of a group unused.
static const group_shape group_shapes[MAX_PANEL][5] = {
  {{16, 1}, {14, 1}, {8, 2}, {7, 2}, {4, 4}},
  {{14, 1}, {8, 1}, {7, 2}, {4, 2}},
  {{8, 1}, {7, 1}, {4, 2}},
  {{4, 1}, {2, 2}},
};

CATENA_INLINE group_shape group_of(const result_band *band, int64_t vectors) {
  enum { SETUP = 2 };
  group_shape best = group_shapes[vectors - 1][0];
  int64_t least = INT64_MAX;
  for (int32_t i = 0; i < 5 && group_shapes[vectors - 1][i].run > 0; i++) {
    group_shape shape = group_shapes[vectors - 1][i];
    int64_t groups =
      quotient_rounded_up(band->at->columns, shape.run) * quotient_rounded_up(band->rows, shape.lines);
    int64_t pixels = groups * (shape.run * shape.lines + SETUP);
    if (pixels >= least) continue;
    least = pixels;
    best = shape;
  }
  return best;
}

// The numbers behind a band that groups at its borders read although they are no results.
CATENA_INLINE int64_t numbers_beyond_band(const direct_step *step, const band_shape *shape) {
  int64_t lines = (MAX_GROUP_LINES - 1) * step->plan.source_row_step * shape->width;
  return (lines + MAX_RUN * step->plan.source_column_step) * step->problem.source_channels;
}

// MARK: Products

// Rows of a group's pixels lie in quads of A, B, C and what is left.
#define QUAD_OF(i, A, B, C) ((i) < (A) ? 0 : (i) < (A) + (B) ? 1 : (i) < (A) + (B) + (C) ? 2 : 3)
#define FIRST_OF_QUAD(q, A, B, C) ((q) == 0 ? 0 : (q) == 1 ? (A) : (q) == 2 ? (A) + (B) : (A) + (B) + (C))
#define PLACE_IN_QUAD(i, A, B, C) ((i) - FIRST_OF_QUAD(QUAD_OF(i, A, B, C), A, B, C))

// To the next channel, by a register that stays one: compilers else keep an address for every pixel, on the stack.
#define STEP_OVER(POINTER) \
  { \
    (POINTER) += NUMBERS_AT_A_TIME; \
    __asm__("" : "+r"(POINTER)); \
  }

#define OUTER_PRODUCT(NAME, VECTORS, ROWS, A, B, C) \
  CATENA_INLINE void outer_##NAME( \
    const result_band *band, group_shape shape, const panel_channels *channels, const float *panel, int64_t column, \
    int64_t last_lanes \
  ) { \
    const direct_step *step = band->step; \
    int64_t elements = result_elements(&step->problem), columns = band->at->columns; \
    int64_t source_step = step->plan.source_column_step * step->problem.source_channels; \
    int64_t source_line = step->plan.source_row_step * band->shape->width * step->problem.source_channels; \
    int64_t result_step = step->plan.column_step * step->problem.destination_channels; \
    int64_t result_line = place_of(band, 1, 0) - place_of(band, 0, 0); \
    int64_t quads_in_line = (shape.run + QUAD - 1) / QUAD; \
    int64_t sources[4], results[4]; \
    UNROLL for (int64_t q = 0; q < 4; q++) { \
      int64_t line = q / quads_in_line, across = q % quads_in_line * QUAD; \
      sources[q] = line * source_line + across * source_step; \
      results[q] = line * result_line + across * result_step; \
    } \
    for (int64_t row = 0; row < band->rows; row += shape.lines) { \
      for (int64_t across = 0; across < columns; across += shape.run) { \
        const source_number *from = source_of(band, row, across); \
        vector sums[ROWS][VECTORS] = {0}; \
        const float *next = panel; \
        for (int32_t number = band->at->first_run; number < band->at->first_run + band->at->run_count; number++) { \
          int64_t count = step->plan.runs[number].taps * step->problem.source_channels; \
          const source_number *quads[4]; \
          UNROLL for (int32_t q = 0; q < 4; q++) quads[q] = from + step->run_offsets[number] + sources[q]; \
          for (int64_t k = 0; k < count; k += NUMBERS_AT_A_TIME, next += VECTORS * LANES) { \
            vector weights[VECTORS]; \
            UNROLL for (int32_t j = 0; j < VECTORS; j++) weights[j] = load(next + j * LANES); \
            UNROLL for (int32_t i = 0; i < ROWS; i++) { \
              vector read = broadcast_numbers(quads[QUAD_OF(i, A, B, C)] + PLACE_IN_QUAD(i, A, B, C) * source_step); \
              UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] = with_products(sums[i][j], read, weights[j]); \
            } \
            UNROLL for (int32_t q = 0; q < 4; q++) { \
              if (FIRST_OF_QUAD(q, A, B, C) < ROWS) STEP_OVER(quads[q]); \
            } \
          } \
        } \
        int64_t place = place_of(band, row, across) + column, places[ROWS]; \
        UNROLL for (int32_t i = 0; i < ROWS; i++) { \
          places[i] = place + results[QUAD_OF(i, A, B, C)] + PLACE_IN_QUAD(i, A, B, C) * result_step; \
        } \
        int64_t last_place = places[ROWS - 1]; \
        uint32_t existing = (1u << ROWS) - 1; \
        if (across + shape.run > columns || row + shape.lines > band->rows) { \
          UNROLL for (int32_t i = 0; i < ROWS; i++) { \
            int64_t q = QUAD_OF(i, A, B, C), right = q % quads_in_line * QUAD + PLACE_IN_QUAD(i, A, B, C); \
            if (across + right < columns && row + q / quads_in_line < band->rows) continue; \
            existing &= ~(1u << i); \
            places[i] = place; \
          } \
          last_place = elements; \
        } \
        STORE_RESULTS( \
          VECTORS, ROWS, &step->at, elements, step->problem.destination_channels, WRITES_BFLOAT16(step), ROUNDS) \
      } \
    } \
  }

OUTER_PRODUCT(1_4444, 1, 16, 4, 4, 4)
OUTER_PRODUCT(1_4442, 1, 14, 4, 4, 4)
OUTER_PRODUCT(1_4343, 1, 14, 4, 3, 4)
OUTER_PRODUCT(2_4442, 2, 14, 4, 4, 4)
OUTER_PRODUCT(2_4343, 2, 14, 4, 3, 4)
OUTER_PRODUCT(2_44, 2, 8, 4, 4, 0)
OUTER_PRODUCT(3_44, 3, 8, 4, 4, 0)
OUTER_PRODUCT(3_43, 3, 7, 4, 3, 0)
OUTER_PRODUCT(4_4, 4, 4, 4, 0, 0)
OUTER_PRODUCT(4_22, 4, 4, 2, 2, 0)

CATENA_INLINE void run_outer(const result_band *band) {
  const direct_step *step = band->step;
  int64_t depth = products_of_runs(&step->plan, band->at, step->problem.source_channels, NUMBERS_AT_A_TIME);
  for (int64_t column = 0; column < step->columns; column += MAX_PANEL * LANES) {
    int64_t vectors = panel_width(step->columns - column) / LANES;
    int64_t lanes = catena_minimum(step->problem.destination_channels - column - (vectors - 1) * LANES, LANES);
    const float *panel = band->weights + column * depth;
    group_shape shape = group_of(band, vectors);
    panel_channels channels;
    read_channels(&step->at, column, (int32_t)vectors, lanes, &channels);
#define RUN(NAME) outer_##NAME(band, shape, &channels, panel, column, lanes); break
    switch (vectors * MAX_RUN + shape.run) {
    case MAX_RUN + 14: RUN(1_4442);
    case MAX_RUN + 7: RUN(1_4343);
    case 2 * MAX_RUN + 14: RUN(2_4442);
    case 2 * MAX_RUN + 7: RUN(2_4343);
    case 2 * MAX_RUN + 8: case 2 * MAX_RUN + 4: RUN(2_44);
    case 3 * MAX_RUN + 7: RUN(3_43);
    case 3 * MAX_RUN + 8: case 3 * MAX_RUN + 4: RUN(3_44);
    case 4 * MAX_RUN + 2: RUN(4_22);
    case 4 * MAX_RUN + 4: RUN(4_4);
    default: RUN(1_4444);
    }
#undef RUN
  }
}
