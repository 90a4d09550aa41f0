// The bands of a direct convolution: lines of a phase's results in one sample, and the lines of the source that they read,
// copied once between zeros; every tap is a distance in them. Who includes this has chosen what sources are made of by
// products_of_floats.h or products_of_pairs.h.
#pragma once

#include "results.h"
#include "taps.h"

// How the lines of a phase are cut into bands, and what of the source one reads.
typedef struct {
  // Lines of results in a band, and bands per sample.
  int64_t rows, count;
  // The band's first source line and column lie so far from those of its first result; its width in pixels.
  int64_t top, left, width;
  // Source lines beyond the first that a line of results needs.
  int64_t reach;
} band_shape;

typedef struct {
  catena_implicit_gemm problem;
  tap_plan plan;
  band_shape bands[MAX_PHASES];
  int64_t units, columns;
  // The distance of a run of taps in a band.
  int32_t run_offsets[MAX_TAPS];
  // Vectors along the source's channels instead of the results.
  bool is_dot;
  product_operands at;
  char *scratch;
  size_t bytes_per_thread;
} direct_step;

// A band of a phase's results in one sample: where it begins and what it reads.
typedef struct {
  const direct_step *step;
  const phase *at;
  const band_shape *shape;
  const void *source;
  const float *weights;
  int64_t sample, first_row, rows;
} result_band;

// Whether this processor multiplies pairs of bf16 by one instruction, and the products of a band of a source in bf16, with
// memory for its lines, where it does.
bool catena_can_multiply_pairs(void);
void catena_multiply_band_of_pairs(result_band *band, void *memory);

// The steps of products for a phase's pixel, each of at most `numbers` taps x channels that lie side by side: each run of
// taps by itself.
CATENA_INLINE int64_t products_of_runs(const tap_plan *plan, const phase *at, int64_t channels, int64_t numbers) {
  int64_t products = 0;
  for (int32_t i = 0; i < at->run_count; i++) {
    products += quotient_rounded_up(plan->runs[at->first_run + i].taps * channels, numbers);
  }
  return products;
}

// Copies the lines that a band reads; what lies outside the image is zero.
CATENA_INLINE void fill_band(const result_band *band, source_number *memory) {
  const catena_implicit_gemm *problem = &band->step->problem;
  int64_t channels = problem->source_channels, width = band->shape->width;
  int64_t first = band->first_row * band->step->plan.source_row_step + band->shape->top;
  int64_t lines = (band->rows - 1) * band->step->plan.source_row_step + band->shape->reach + 1;
  int64_t low = catena_minimum(catena_maximum(-band->shape->left, 0), width);
  int64_t high = catena_maximum(catena_minimum(problem->source_width - band->shape->left, width), low);
  for (int64_t row = first; row < first + lines; row++) {
    bool is_inside = row >= 0 && row < problem->source_height && low < high;
    if (is_inside) {
      int64_t line = (band->sample * problem->source_height + row) * problem->source_width;
      const source_number *image = band->step->at.source;
      const source_number *from = image + (line + band->shape->left + low) * channels;
      memset(memory, 0, (size_t)(low * channels) * sizeof(source_number));
      memcpy(memory + low * channels, from, (size_t)((high - low) * channels) * sizeof(source_number));
      memset(memory + high * channels, 0, (size_t)((width - high) * channels) * sizeof(source_number));
    } else {
      memset(memory, 0, (size_t)(width * channels) * sizeof(source_number));
    }
    memory += width * channels;
  }
  memset(memory, 0, LANES * sizeof(float));
}

// The first source channel that the result at (row, column) of a band reads.
CATENA_INLINE const source_number *source_of(const result_band *band, int64_t row, int64_t column) {
  const tap_plan *plan = &band->step->plan;
  return (const source_number *)band->source
    + (row * plan->source_row_step * band->shape->width + column * plan->source_column_step)
    * band->step->problem.source_channels;
}

CATENA_INLINE int64_t place_of(const result_band *band, int64_t row, int64_t column) {
  const catena_implicit_gemm *problem = &band->step->problem;
  int64_t y = band->at->first_row + (band->first_row + row) * band->step->plan.row_step;
  int64_t x = band->at->first_column + column * band->step->plan.column_step;
  return ((band->sample * problem->destination_height + y) * problem->destination_width + x)
    * problem->destination_channels;
}
