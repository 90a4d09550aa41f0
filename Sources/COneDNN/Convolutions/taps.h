// Which pixels of the source a result of a convolution reads, and with which weights.
//
// The input gradient of a convolution of stride s falls into s x s phases: pixels of the result at the same distance
// from the grid read the same taps, as a convolution of stride 1 does.
#pragma once

#include "../program.h"

enum { MAX_TAPS = 128, MAX_PHASES = 16 };

// Consecutive taps whose source pixels lie side by side.
typedef struct {
  int32_t row, column, taps;
} tap_run;

// Results at (first_row + i row_step, first_column + j column_step), all with the same taps.
typedef struct {
  int64_t first_row, first_column, rows, columns;
  int32_t first_run, run_count, taps;
} phase;

// Taps in the order in which the packed weights hold them.
typedef struct {
  int32_t phase_count;
  phase phases[MAX_PHASES];
  tap_run runs[MAX_TAPS];
  uint8_t kernel_positions[MAX_TAPS];
  int64_t row_step, column_step, source_row_step, source_column_step;
} tap_plan;

CATENA_INLINE void append_tap(
  tap_plan *plan, phase *at, int32_t row, int32_t column, int32_t kernel_position, int32_t number
) {
  plan->kernel_positions[number] = (uint8_t)kernel_position;
  tap_run *last = at->run_count > 0 ? &plan->runs[at->first_run + at->run_count - 1] : NULL;
  at->taps += 1;
  if (last != NULL && last->row == row && last->column + last->taps == column) {
    last->taps += 1;
  } else {
    plan->runs[at->first_run + at->run_count++] = (tap_run){row, column, 1};
  }
}

CATENA_INLINE tap_plan forward_taps(const catena_implicit_gemm *problem) {
  tap_plan plan = {.phase_count = 1, .row_step = 1, .column_step = 1};
  plan.source_row_step = problem->row_stride;
  plan.source_column_step = problem->column_stride;
  plan.phases[0] = (phase){.rows = problem->destination_height, .columns = problem->destination_width};
  for (int64_t y = 0; y < problem->kernel_height; y++) {
    for (int64_t x = 0; x < problem->kernel_width; x++) {
      int32_t position = (int32_t)(y * problem->kernel_width + x);
      append_tap(
        &plan, &plan.phases[0], (int32_t)(y * problem->row_dilation - problem->pad_top),
        (int32_t)(x * problem->column_dilation - problem->pad_left), position, position);
    }
  }
  return plan;
}

CATENA_INLINE int64_t steps_to(int64_t extent, int64_t first, int64_t step) {
  return extent > first ? (extent - first + step - 1) / step : 0;
}

// Source rows and columns fall as the kernel's rise: walked backwards, neighbouring taps make runs.
CATENA_INLINE tap_plan backward_taps(const catena_implicit_gemm *problem) {
  tap_plan plan = {.row_step = problem->row_stride, .column_step = problem->column_stride};
  plan.source_row_step = plan.source_column_step = 1;
  int32_t runs = 0, taps = 0;
  for (int64_t row = 0; row < problem->row_stride; row++) {
    for (int64_t column = 0; column < problem->column_stride; column++) {
      phase *at = &plan.phases[plan.phase_count++];
      *at = (phase){
        .first_row = row, .first_column = column,
        .rows = steps_to(problem->destination_height, row, problem->row_stride),
        .columns = steps_to(problem->destination_width, column, problem->column_stride), .first_run = runs};
      for (int64_t y = problem->kernel_height - 1; y >= 0; y--) {
        int64_t down = row + problem->pad_top - y * problem->row_dilation;
        if (down % problem->row_stride != 0) continue;
        for (int64_t x = problem->kernel_width - 1; x >= 0; x--) {
          int64_t across = column + problem->pad_left - x * problem->column_dilation;
          if (across % problem->column_stride != 0) continue;
          append_tap(
            &plan, at, (int32_t)(down / problem->row_stride), (int32_t)(across / problem->column_stride),
            (int32_t)(y * problem->kernel_width + x), taps++);
        }
      }
      runs += at->run_count;
    }
  }
  return plan;
}

CATENA_INLINE tap_plan taps_of(const catena_implicit_gemm *problem) {
  return problem->is_backward_data ? backward_taps(problem) : forward_taps(problem);
}

// The most source channels x taps of a phase.
CATENA_INLINE int64_t deepest(const tap_plan *plan, int64_t channels) {
  int64_t taps = 0;
  for (int32_t i = 0; i < plan->phase_count; i++) taps = catena_maximum(taps, plan->phases[i].taps);
  return taps * channels;
}

// Whether every result reads the one pixel at its own place.
CATENA_INLINE bool is_pointwise(const tap_plan *plan, const catena_implicit_gemm *problem) {
  tap_run run = plan->runs[0];
  return plan->phase_count == 1 && plan->phases[0].taps == 1 && run.row == 0 && run.column == 0
    && plan->source_row_step == 1 && plan->source_column_step == 1
    && problem->source_height == problem->destination_height && problem->source_width == problem->destination_width;
}

// The numbers that a convolution writes.
CATENA_INLINE int64_t result_elements(const catena_implicit_gemm *problem) {
  return problem->batch * problem->destination_height * problem->destination_width * problem->destination_channels;
}
