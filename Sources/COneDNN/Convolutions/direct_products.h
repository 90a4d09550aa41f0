// The products of a band, whatever numbers they are of.
#pragma once

#include "dot_products.h"
#include "outer_products.h"

// Whether a band's pixels can be read in the image: it has no borders, and what products read behind its pixels, to multiply
// it by 0 or for no result, is in memory and of the same sample, whose results must not depend on another's.
CATENA_INLINE bool reads_image(const result_band *band) {
  const direct_step *step = band->step;
  int64_t channels = step->problem.source_channels;
  if (!is_pointwise(&step->plan, &step->problem)) return false;
  int64_t whole = step->is_dot ? LANES * NUMBERS_AT_A_TIME : NUMBERS_AT_A_TIME;
  int64_t beyond = (channels % whole == 0 ? 0 : whole) + (step->is_dot ? 0 : numbers_beyond_band(step, band->shape));
  int64_t lines_behind = step->problem.source_height - band->first_row - band->rows;
  return beyond <= lines_behind * step->problem.source_width * channels;
}

CATENA_INLINE void multiply_band(result_band *band, void *memory) {
  const catena_implicit_gemm *problem = &band->step->problem;
  if (reads_image(band)) {
    int64_t line = band->sample * problem->source_height + band->first_row;
    band->source = (const source_number *)band->step->at.source + line * problem->source_width * problem->source_channels;
  } else {
    fill_band(band, memory);
    band->source = memory;
  }
  if (band->step->is_dot) {
    run_dots(band);
  } else {
    run_outer(band);
  }
}
