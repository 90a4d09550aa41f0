// The planes of a convolution along pixels: a band of the source's lines is copied once into planes, one per channel (and,
// where the convolution has strides, per remainder of line and column), between zeros; every tap is a distance in a plane.
#pragma once

#include "pixel_groups.h"
#include "taps.h"

// MARK: Types

// How the lines of a phase are cut into bands, and the planes of one.
typedef struct {
  // Lines of results in a band, and bands per sample.
  int64_t rows, count;
  // The source pixel that the first tap of the band's first result reads lies so far from that of its first result.
  int64_t top, left;
  // Lines that a line of results reads beyond its own, of the same remainder; pixels in a line; floats in a plane.
  int64_t reach, pitch, plane;
  // 0 where vectors go on in the next line.
  int64_t vectors_per_line;
} plane_shape;

typedef struct {
  catena_implicit_gemm problem;
  tap_plan plan;
  plane_shape shapes[MAX_PHASES];
  int64_t units;
  // Results in all groups but the last, which may have fewer.
  int64_t group;
  // Whether no post-operation reads an image.
  bool stores_alone;
  // The distance of a tap in the planes.
  int32_t tap_offsets[MAX_TAPS];
  product_operands at;
  char *scratch;
  size_t bytes_per_thread;
} planes_step;

// A band of a phase's results in one sample.
typedef struct {
  const planes_step *step;
  const phase *at;
  const plane_shape *shape;
  const float *weights, *planes;
  int64_t sample, first_row, rows;
  int32_t first_tap;
} plane_band;

// MARK: Filling

// The pixels of a plane's lines that lie in the image: the source's columns `first` + i x `step` for `low` <= i < `high`.
typedef struct {
  int64_t first, step, low, high;
} line_span;

CATENA_INLINE line_span span_of(const plane_band *band, int64_t across) {
  int64_t step = band->step->plan.source_column_step, pitch = band->shape->pitch;
  line_span span = {.first = band->shape->left + across, .step = step};
  span.low = catena_minimum(quotient_rounded_up(catena_maximum(-span.first, 0), step), pitch);
  int64_t end = catena_maximum(band->step->problem.source_width - span.first, 0);
  span.high = catena_maximum(catena_minimum(quotient_rounded_up(end, step), pitch), span.low);
  return span;
}

// `count` channels from number `first` of sixteen pixels, `stride` floats apart, of which `pixels` exist and `readable`
// floats are in memory, to a plane each.
#define SPREAD(GROUP) \
  CATENA_INLINE void spread_##GROUP( \
    const float *from, int64_t pixels, int64_t stride, int64_t count, int64_t readable, float *to, int64_t plane \
  ) { \
    float copied[LANES * GROUP]; \
    if ((LANES - 1) * stride + GROUP > readable) { \
      memset(copied, 0, sizeof copied); \
      for (int64_t i = 0; i < pixels; i++) copy_group_##GROUP(copied + i * GROUP, from + i * stride, count); \
      from = copied; \
      stride = GROUP; \
    } \
    vector rows[GROUP]; \
    UNROLL for (int32_t i = 0; i < GROUP; i++) { \
      rows[i] = load_pixels_##GROUP(from + i * (LANES / GROUP) * stride, stride); \
    } \
    channels_of_pixels_##GROUP(rows); \
    UNROLL for (int32_t i = 0; i < GROUP; i++) { \
      if (i < count) store(to + i * plane, rows[i]); \
    } \
  } \
  /* Their lines of the planes of one remainder, of which the first is the source's line `top`. */ \
  CATENA_INLINE void fill_lines_##GROUP( \
    const plane_band *band, int64_t top, const line_span *span, int64_t first, int64_t count, float *to \
  ) { \
    const catena_implicit_gemm *problem = &band->step->problem; \
    int64_t channels = problem->source_channels, pitch = band->shape->pitch, plane = band->shape->plane; \
    int64_t elements = problem->batch * problem->source_height * problem->source_width * channels; \
    for (int64_t line = 0; line < band->rows + band->shape->reach; line++, to += pitch) { \
      int64_t row = top + line * band->step->plan.source_row_step; \
      bool is_inside = row >= 0 && row < problem->source_height; \
      int64_t low = is_inside ? span->low : pitch, high = is_inside ? span->high : pitch; \
      for (int64_t i = 0; i < count; i++) { \
        for (int64_t j = 0; j < low; j++) to[i * plane + j] = 0; \
      } \
      int64_t begin = (band->sample * problem->source_height + row) * problem->source_width + span->first; \
      for (int64_t next = low; next < high; next += LANES) { \
        /* The last pixels once more rather than a part of a vector. */ \
        int64_t i = catena_maximum(catena_minimum(next, high - LANES), low); \
        int64_t index = (begin + i * span->step) * channels + first; \
        spread_##GROUP( \
          (const float *)band->step->at.source + index, catena_minimum(high - i, LANES), span->step * channels, count, \
          elements - index, to + i, plane); \
      } \
      for (int64_t i = 0; i < count; i++) { \
        for (int64_t j = high; j < pitch; j++) to[i * plane + j] = 0; \
      } \
    } \
  }

SPREAD(1)
SPREAD(2)
SPREAD(4)
SPREAD(8)
SPREAD(16)

CATENA_INLINE void fill_planes(const plane_band *band, float *memory) {
  const tap_plan *plan = &band->step->plan;
  const plane_shape *shape = band->shape;
  int64_t channels = band->step->problem.source_channels;
  for (int64_t across = 0; across < plan->source_column_step; across++) {
    line_span span = span_of(band, across);
    for (int64_t down = 0; down < plan->source_row_step; down++) {
      int64_t top = band->first_row * plan->source_row_step + shape->top + down;
      for (int64_t first = 0; first < channels; first += LANES) {
        int64_t count = catena_minimum(channels - first, LANES);
        float *to = memory + ((down * plan->source_column_step + across) * channels + first) * shape->plane;
        if (count > 8) {
          fill_lines_16(band, top, &span, first, count, to);
        } else if (count > 4) {
          fill_lines_8(band, top, &span, first, count, to);
        } else if (count > 2) {
          fill_lines_4(band, top, &span, first, count, to);
        } else if (count > 1) {
          fill_lines_2(band, top, &span, first, count, to);
        } else {
          fill_lines_1(band, top, &span, first, count, to);
        }
      }
    }
  }
}
