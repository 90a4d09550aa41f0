// Convolutions that gain nothing from being a product of gathered matrices: those whose depth (taps x source channels)
// is small, and those with few results, as networks have of which most units are cut. A band of the source's lines is
// copied once between zeros, or read where it lies, and every tap is a distance in it.
//
// Few results: vectors run along the source's channels, so that a vector of products is never mostly padding, and one
// pass over sixteen sums turns them into a vector of neighbouring results. Else: vectors run along the results.
#include "../Passes/elementwise.h"
#include "products_of_floats.h"

#include "direct_products.h"

#include <math.h>

enum {
  MAX_DEPTH = 512,
  MAX_DOT_RESULTS = 8,
  BAND_BYTES = 64 << 10,
};

// MARK: Plan

// What one lane of a product takes of the source: a number in f32, or a pair in bf16.
CATENA_INLINE int64_t numbers_at_a_time(const catena_implicit_gemm *problem) { return problem->reads_bfloat16 ? 2 : 1; }

CATENA_INLINE int64_t number_bytes(const catena_implicit_gemm *problem) {
  return problem->reads_bfloat16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float);
}

// Vectors of a dot product.
CATENA_INLINE int64_t dot_vectors(const tap_plan *plan, const phase *at, const catena_implicit_gemm *problem) {
  return products_of_runs(plan, at, problem->source_channels, LANES * numbers_at_a_time(problem));
}

// Cycles per result pixel of a phase: one for every vector of products, some for adding up lanes and for storing.
CATENA_INLINE double dot_cycles(const tap_plan *plan, const catena_implicit_gemm *problem, const phase *at) {
  return (double)(problem->destination_channels * (dot_vectors(plan, at, problem) + 3) + 4);
}

CATENA_INLINE double outer_cycles(const tap_plan *plan, const catena_implicit_gemm *problem, const phase *at) {
  int64_t vectors = rounded_up(problem->destination_channels, LANES) / LANES;
  int64_t rows = products_of_runs(plan, at, problem->source_channels, numbers_at_a_time(problem));
  return (double)(rows * vectors + 12);
}

static double cycles(const tap_plan *plan, const catena_implicit_gemm *problem, bool is_dot) {
  double sum = 0;
  for (int32_t i = 0; i < plan->phase_count; i++) {
    const phase *at = &plan->phases[i];
    double each = is_dot ? dot_cycles(plan, problem, at) : outer_cycles(plan, problem, at);
    sum += each * (double)(at->rows * at->columns);
  }
  return sum;
}

static bool prefers_dots(const tap_plan *plan, const catena_implicit_gemm *problem) {
  return problem->destination_channels <= MAX_DOT_RESULTS
    && cycles(plan, problem, true) < cycles(plan, problem, false);
}

static band_shape band_of(const direct_step *step, const phase *at, int32_t threads) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t top = 0, bottom = 0, left = 0, right = 1;
  for (int32_t i = 0; i < at->run_count; i++) {
    tap_run run = step->plan.runs[at->first_run + i];
    top = i == 0 ? run.row : catena_minimum(top, run.row);
    bottom = i == 0 ? run.row : catena_maximum(bottom, run.row);
    left = i == 0 ? run.column : catena_minimum(left, run.column);
    right = i == 0 ? run.column + run.taps : catena_maximum(right, run.column + run.taps);
  }
  band_shape band = {.top = top, .left = left, .reach = bottom - top};
  band.width = (at->columns - 1) * step->plan.source_column_step + right - left;
  int64_t line_bytes = band.width * problem->source_channels * number_bytes(problem);
  int64_t lines = BAND_BYTES / catena_maximum(line_bytes, 1) - band.reach;
  int64_t most = catena_maximum(lines / step->plan.source_row_step, 1);
  band.rows = catena_even_part(at->rows, problem->batch, most, threads);
  band.count = (at->rows + band.rows - 1) / band.rows;
  return band;
}

static int64_t band_lines(const direct_step *step, const band_shape *band) {
  return (band->rows - 1) * step->plan.source_row_step + band->reach + 1;
}

static direct_step plan_of(const catena_implicit_gemm *problem, int32_t threads) {
  direct_step step = {.problem = *problem, .plan = taps_of(problem)};
  step.is_dot = prefers_dots(&step.plan, problem);
  step.columns = rounded_up(problem->destination_channels, LANES);
  int64_t numbers = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    const phase *at = &step.plan.phases[i];
    if (at->rows == 0 || at->columns == 0) continue;
    band_shape band = band_of(&step, at, threads);
    for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
      tap_run run = step.plan.runs[number];
      step.run_offsets[number] =
        (int32_t)(((run.row - band.top) * band.width + run.column - band.left) * problem->source_channels);
    }
    int64_t lines = band_lines(&step, &band) * band.width * problem->source_channels;
    numbers = catena_maximum(numbers, lines + (step.is_dot ? 0 : numbers_beyond_band(&step, &band)));
    step.units += problem->batch * band.count;
    step.bands[i] = band;
  }
  // A dot product reads whole vectors.
  int64_t vector_numbers = LANES * numbers_at_a_time(problem);
  step.bytes_per_thread = (size_t)(rounded_up(numbers + vector_numbers, vector_numbers) * number_bytes(problem));
  return step;
}

double catena_direct_cycles(const catena_implicit_gemm *problem) {
  if (!catena_implicit_gemm_is_possible(problem) || problem->destination_width == 1) return INFINITY;
  if (problem->reads_bfloat16 && !catena_can_multiply_pairs()) return INFINITY;
  direct_step step = plan_of(problem, 1);
  // Offsets are kept in 32 bits.
  if (step.bytes_per_thread > INT32_MAX) return INFINITY;
  const tap_plan *plan = &step.plan;
  int64_t depth = deepest(plan, problem->source_channels) / numbers_at_a_time(problem);
  // Pixels of an image in f32 are rows of a matrix as they are.
  bool is_matrix = is_pointwise(plan, problem) && !problem->reads_bfloat16;
  bool is_shallow = !is_matrix && depth <= MAX_DEPTH;
  return step.is_dot || is_shallow ? cycles(plan, problem, step.is_dot) : INFINITY;
}

size_t catena_direct_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads) {
  return plan_of(problem, threads).bytes_per_thread * (size_t)threads;
}

// MARK: Weights

static int64_t phase_weights(const direct_step *step, const phase *at) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t numbers = numbers_at_a_time(problem);
  if (!step->is_dot) return products_of_runs(&step->plan, at, problem->source_channels, numbers) * step->columns;
  return dot_vectors(&step->plan, at, problem) * LANES * problem->destination_channels;
}

size_t catena_direct_weight_bytes(const catena_implicit_gemm *problem) {
  direct_step step = plan_of(problem, 1);
  int64_t floats = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) floats += phase_weights(&step, &step.plan.phases[i]);
  return (size_t)catena_maximum(floats, 1) * sizeof(float);
}

// The weight of number `i` of a run's taps x channels for a result; 0 behind the last of either.
CATENA_INLINE float weight_of(
  const direct_step *step, const float *weights, tap_run run, int32_t first_tap, int64_t i, int64_t result
) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t taps = problem->kernel_height * problem->kernel_width, channels = problem->source_channels;
  if (i >= run.taps * channels || result >= problem->destination_channels) return 0;
  return weights[(result * channels + i % channels) * taps + step->plan.kernel_positions[first_tap + i / channels]];
}

// The weights that a lane of a product meets, from number `i` on.
CATENA_INLINE void append_weights(
  float **packed, const direct_step *step, const float *weights, tap_run run, int32_t first_tap, int64_t i,
  int64_t result
) {
  float first = weight_of(step, weights, run, first_tap, i, result);
  if (step->problem.reads_bfloat16) {
    float second = weight_of(step, weights, run, first_tap, i + 1, result);
    uint16_t pair[2] = {catena_to_bfloat16(first), catena_to_bfloat16(second)};
    memcpy(*packed, pair, sizeof pair);
  } else {
    **packed = first;
  }
  *packed += 1;
}

// Run by run, vector by vector of its taps x channels, one vector for every result.
static float *pack_dots(
  const direct_step *step, const phase *at, int32_t first_tap, const float *weights, float *packed
) {
  int64_t numbers = numbers_at_a_time(&step->problem);
  for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
    tap_run run = step->plan.runs[number];
    for (int64_t begin = 0; begin < run.taps * step->problem.source_channels; begin += numbers * LANES) {
      for (int64_t result = 0; result < step->problem.destination_channels; result++) {
        for (int64_t i = begin; i < begin + numbers * LANES; i += numbers) {
          append_weights(&packed, step, weights, run, first_tap, i, result);
        }
      }
    }
    first_tap += run.taps;
  }
  return packed;
}

// Panel by panel, run by run, a row of columns for all that a product takes at a time.
static float *pack_panels(
  const direct_step *step, const phase *at, int32_t first_tap, const float *weights, float *packed
) {
  int64_t numbers = numbers_at_a_time(&step->problem);
  for (int64_t panel = 0; panel < step->columns; panel += MAX_PANEL * LANES) {
    int64_t end = panel + panel_width(step->columns - panel);
    int32_t tap = first_tap;
    for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
      tap_run run = step->plan.runs[number];
      for (int64_t i = 0; i < run.taps * step->problem.source_channels; i += numbers) {
        for (int64_t column = panel; column < end; column++) {
          append_weights(&packed, step, weights, run, tap, i, column);
        }
      }
      tap += run.taps;
    }
  }
  return packed;
}

void catena_direct_pack(const catena_implicit_gemm *problem, const float *weights, float *packed) {
  direct_step step = plan_of(problem, 1);
  int32_t first_tap = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    const phase *at = &step.plan.phases[i];
    packed = (step.is_dot ? pack_dots : pack_panels)(&step, at, first_tap, weights, packed);
    first_tap += at->taps;
  }
}

// MARK: Step

CATENA_VECTORISED
static void run_band(result_band *band, void *memory) { multiply_band(band, memory); }

static void run_unit(const direct_step *step, int64_t unit, void *memory) {
  const float *weights = step->at.weights;
  int32_t number = 0;
  while (unit >= step->problem.batch * step->bands[number].count) {
    unit -= step->problem.batch * step->bands[number].count;
    weights += phase_weights(step, &step->plan.phases[number]);
    number += 1;
  }
  const phase *at = &step->plan.phases[number];
  const band_shape *shape = &step->bands[number];
  int64_t first_row = unit % shape->count * shape->rows;
  result_band band = {
    .step = step, .at = at, .shape = shape, .weights = weights, .sample = unit / shape->count, .first_row = first_row,
    .rows = catena_minimum(at->rows - first_row, shape->rows),
  };
  if (step->problem.reads_bfloat16) {
    catena_multiply_band_of_pairs(&band, memory);
  } else {
    run_band(&band, memory);
  }
}

static void run_share(void *arguments) {
  const direct_step *step = arguments;
  void *memory = step->scratch + (size_t)catena_thread() * step->bytes_per_thread;
  catena_range share = catena_share(step->units);
  for (int64_t unit = share.begin; unit < share.end; unit++) run_unit(step, unit, memory);
}

static catena_status run_direct(const void *arguments) {
  const direct_step *step = arguments;
  const catena_implicit_gemm *problem = &step->problem;
  int64_t results = problem->batch * problem->destination_height * problem->destination_width;
  catena_parallel(run_share, arguments, results * deepest(&step->plan, problem->source_channels));
  return catena_success;
}

void catena_add_direct(
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  direct_step *step = catena_add_step(program, run_direct, sizeof(direct_step), NULL);
  *step = plan_of(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
}
