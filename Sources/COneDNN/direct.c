// Convolutions that gain nothing from being a product of gathered matrices: those whose depth (taps x source channels)
// is small, and those with few results, as networks have of which most units are cut. A band of the source's lines is
// copied once between zeros, or read where it lies, and every tap is a distance in it.
//
// Few results: vectors run along the source's channels, so that a vector of products is never mostly padding, and one
// pass over sixteen sums turns them into a vector of neighbouring results. Else: vectors run along the results.
#include "lane_swaps.h"
#include "results.h"
#include "taps.h"

#include <math.h>

enum {
  MAX_DEPTH = 512,
  MAX_DOT_RESULTS = 8,
  BAND_BYTES = 64 << 10,
};

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

// MARK: Plan

// Vectors of a dot product, each run of taps by itself.
CATENA_INLINE int64_t dot_vectors(const tap_plan *plan, const phase *at, int64_t channels) {
  int64_t vectors = 0;
  for (int32_t i = 0; i < at->run_count; i++) {
    vectors += rounded_up(plan->runs[at->first_run + i].taps * channels, LANES) / LANES;
  }
  return vectors;
}

// Cycles per result pixel of a phase: one for every vector of products, some for adding up lanes and for storing.
CATENA_INLINE double dot_cycles(const tap_plan *plan, const catena_implicit_gemm *problem, const phase *at) {
  return (double)(problem->destination_channels * (dot_vectors(plan, at, problem->source_channels) + 3) + 4);
}

CATENA_INLINE double outer_cycles(const catena_implicit_gemm *problem, const phase *at) {
  int64_t vectors = rounded_up(problem->destination_channels, LANES) / LANES;
  return (double)(at->taps * problem->source_channels * vectors + 12);
}

static double cycles(const tap_plan *plan, const catena_implicit_gemm *problem, bool is_dot) {
  double sum = 0;
  for (int32_t i = 0; i < plan->phase_count; i++) {
    const phase *at = &plan->phases[i];
    double each = is_dot ? dot_cycles(plan, problem, at) : outer_cycles(problem, at);
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
  int64_t line_bytes = band.width * problem->source_channels * (int64_t)sizeof(float);
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
  int64_t floats = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    const phase *at = &step.plan.phases[i];
    if (at->rows == 0 || at->columns == 0) continue;
    band_shape band = band_of(&step, at, threads);
    for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
      tap_run run = step.plan.runs[number];
      step.run_offsets[number] =
        (int32_t)(((run.row - band.top) * band.width + run.column - band.left) * problem->source_channels);
    }
    floats = catena_maximum(floats, band_lines(&step, &band) * band.width * problem->source_channels);
    step.units += problem->batch * band.count;
    step.bands[i] = band;
  }
  // A dot product reads whole vectors.
  step.bytes_per_thread = (size_t)rounded_up(floats + LANES, LANES) * sizeof(float);
  return step;
}

double catena_direct_cycles(const catena_implicit_gemm *problem) {
  if (!catena_implicit_gemm_is_possible(problem) || problem->destination_width == 1) return INFINITY;
  direct_step step = plan_of(problem, 1);
  // Offsets are kept in 32 bits.
  if (step.bytes_per_thread > INT32_MAX) return INFINITY;
  const tap_plan *plan = &step.plan;
  bool is_shallow = !is_pointwise(plan, problem) && deepest(plan, problem->source_channels) <= MAX_DEPTH;
  return step.is_dot || is_shallow ? cycles(plan, problem, step.is_dot) : INFINITY;
}

size_t catena_direct_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads) {
  return plan_of(problem, threads).bytes_per_thread * (size_t)threads;
}

// MARK: Weights

static int64_t phase_weights(const direct_step *step, const phase *at) {
  int64_t channels = step->problem.source_channels;
  if (!step->is_dot) return at->taps * channels * step->columns;
  return dot_vectors(&step->plan, at, channels) * LANES * step->problem.destination_channels;
}

size_t catena_direct_weight_bytes(const catena_implicit_gemm *problem) {
  direct_step step = plan_of(problem, 1);
  int64_t floats = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) floats += phase_weights(&step, &step.plan.phases[i]);
  return (size_t)catena_maximum(floats, 1) * sizeof(float);
}

// Run by run, vector by vector of its taps x channels, one vector for every result.
static float *pack_dots(
  const direct_step *step, const phase *at, int32_t first_tap, const float *weights, float *packed
) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t taps = problem->kernel_height * problem->kernel_width, channels = problem->source_channels;
  for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
    int64_t count = step->plan.runs[number].taps * channels;
    for (int64_t begin = 0; begin < count; begin += LANES) {
      for (int64_t result = 0; result < problem->destination_channels; result++) {
        for (int64_t i = begin; i < begin + LANES; i++) {
          int64_t position = i < count ? step->plan.kernel_positions[first_tap + i / channels] : 0;
          *packed++ = i < count ? weights[(result * channels + i % channels) * taps + position] : 0;
        }
      }
    }
    first_tap += step->plan.runs[number].taps;
  }
  return packed;
}

void catena_direct_pack(const catena_implicit_gemm *problem, const float *weights, float *packed) {
  direct_step step = plan_of(problem, 1);
  // Along results, the weights lie as a product of gathered matrices wants them.
  if (!step.is_dot) return catena_implicit_gemm_pack(problem, weights, packed);
  int32_t first_tap = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    packed = pack_dots(&step, &step.plan.phases[i], first_tap, weights, packed);
    first_tap += step.plan.phases[i].taps;
  }
}

// MARK: Bands

// A band of a phase's results in one sample: where it begins and what it reads.
typedef struct {
  const direct_step *step;
  const phase *at;
  const band_shape *shape;
  const float *source, *weights;
  int64_t sample, first_row, rows;
} result_band;

// Copies the lines that a band reads; what lies outside the image is zero.
CATENA_INLINE void fill_band(const result_band *band, float *memory) {
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
      const float *from = (const float *)band->step->at.source + (line + band->shape->left + low) * channels;
      memset(memory, 0, (size_t)(low * channels) * sizeof(float));
      memcpy(memory + low * channels, from, (size_t)((high - low) * channels) * sizeof(float));
      memset(memory + high * channels, 0, (size_t)((width - high) * channels) * sizeof(float));
    } else {
      memset(memory, 0, (size_t)(width * channels) * sizeof(float));
    }
    memory += width * channels;
  }
  memset(memory, 0, LANES * sizeof(float));
}

// The first source channel that the result at (row, column) of a band reads.
CATENA_INLINE const float *source_of(const result_band *band, int64_t row, int64_t column) {
  const tap_plan *plan = &band->step->plan;
  return band->source
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

// MARK: Along results

#define OUTER_PRODUCT(VECTORS, ROWS) \
  CATENA_INLINE void outer_##VECTORS(const result_band *band, const float *panel, int64_t column) { \
    const direct_step *step = band->step; \
    int64_t columns = band->at->columns, count = band->rows * columns; \
    int64_t last_lanes = catena_minimum(step->problem.destination_channels - column - (VECTORS - 1) * LANES, LANES); \
    int64_t line = 0, across = 0, elements = result_elements(&step->problem); \
    int64_t source_step = step->plan.source_column_step * step->problem.source_channels; \
    int64_t result_step = step->plan.column_step * step->problem.destination_channels; \
    const float *from = source_of(band, 0, 0); \
    int64_t to = place_of(band, 0, 0) + column; \
    for (int64_t first = 0; first < count; first += ROWS) { \
      vector sums[ROWS][VECTORS] = {0}; \
      const float *rows[ROWS]; \
      int64_t places[ROWS], here = catena_minimum(count - first, ROWS); \
      UNROLL for (int32_t i = 0; i < ROWS; i++) { \
        rows[i] = i < here ? from : rows[0]; \
        places[i] = i < here ? to : places[0]; \
        if (++across < columns) { \
          from += source_step; \
          to += result_step; \
        } else if (i < here) { \
          across = 0; \
          line += 1; \
          from = source_of(band, line, 0); \
          to = place_of(band, line, 0) + column; \
        } \
      } \
      const float *next = panel; \
      for (int32_t number = band->at->first_run; number < band->at->first_run + band->at->run_count; number++) { \
        int64_t begin = step->run_offsets[number]; \
        int64_t end = begin + step->plan.runs[number].taps * step->problem.source_channels; \
        for (int64_t k = begin; k < end; k++, next += VECTORS * LANES) { \
          vector weights[VECTORS]; \
          UNROLL for (int32_t j = 0; j < VECTORS; j++) weights[j] = load(next + j * LANES); \
          UNROLL for (int32_t i = 0; i < ROWS; i++) { \
            UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] += rows[i][k] * weights[j]; \
          } \
        } \
      } \
      STORE_RESULTS(VECTORS, ROWS, &step->at, elements, step->problem.destination_channels) \
    } \
  }

OUTER_PRODUCT(1, 14)
OUTER_PRODUCT(2, 12)
OUTER_PRODUCT(3, 8)
OUTER_PRODUCT(4, 6)

CATENA_INLINE void run_outer(const result_band *band) {
  int64_t depth = band->at->taps * band->step->problem.source_channels;
  for (int64_t column = 0; column < band->step->columns; column += MAX_PANEL * LANES) {
    const float *panel = band->weights + column * depth;
    switch (panel_width(band->step->columns - column) / LANES) {
    case 1: outer_1(band, panel, column); break;
    case 2: outer_2(band, panel, column); break;
    case 3: outer_3(band, panel, column); break;
    default: outer_4(band, panel, column); break;
    }
  }
}

// MARK: Along the source's channels

// Adds up the lanes of each of 16 vectors: lane i of the result is the sum of vector i.
#define FOLD(COUNT, LOW, HIGH) \
  UNROLL for (int32_t i = 0; i < COUNT; i++) { \
    sums[i] = __builtin_shufflevector(sums[i], sums[i + COUNT], LOW) \
      + __builtin_shufflevector(sums[i], sums[i + COUNT], HIGH); \
  }
#define ADD_LANES EACH_LANE_SWAP(FOLD)

// Channels of neighbouring pixels in a vector.
typedef struct {
  vector bias, factors[CATENA_MAX_POST_OPERATIONS];
} lane_patterns;

CATENA_INLINE vector repeated(const float *channels, int64_t count) {
  float values[LANES];
  for (int64_t i = 0; i < LANES; i++) values[i] = channels[i % count];
  return load(values);
}

CATENA_INLINE lane_patterns patterns_of(const direct_step *step) {
  const product_operands *at = &step->at;
  lane_patterns patterns = {0};
  int64_t count = step->problem.destination_channels;
  if (at->bias != NULL) patterns.bias = repeated(at->bias, count);
  for (int32_t i = 0; i < at->post_operation_count; i++) {
    if (at->post_operations[i].kind != CATENA_POST_MULTIPLY_CHANNEL) continue;
    patterns.factors[i] = repeated(at->operands[i], count);
  }
  return patterns;
}

// `pixels` groups of `count` floats, `stride` apart, one behind the other in a vector.
CATENA_INLINE vector load_spread(const float *from, int64_t pixels, int64_t count, int64_t stride) {
  if (stride == count) return load_lanes(from, pixels * count);
  float values[LANES] = {0};
  for (int64_t i = 0; i < pixels; i++) {
    for (int64_t j = 0; j < count; j++) values[i * count + j] = from[i * stride + j];
  }
  return load(values);
}

CATENA_INLINE void store_spread(float *to, vector value, int64_t pixels, int64_t count, int64_t stride) {
  if (stride == count && pixels * count == LANES) return store(to, value);
  if (stride == count) return store_part(to, value, pixels * count);
  float values[LANES];
  store(values, value);
  for (int64_t i = 0; i < pixels; i++) {
    for (int64_t j = 0; j < count; j++) to[i * stride + j] = values[i * count + j];
  }
}

CATENA_INLINE void finish_dots(
  const direct_step *step, const lane_patterns *patterns, vector value, int64_t place, int64_t pixels, int64_t count
) {
  const product_operands *at = &step->at;
  int64_t stride = step->plan.column_step * count;
  value += patterns->bias;
#define THE_VALUE(EXPRESSION) value = (EXPRESSION)
  for (int32_t number = 0; number < at->post_operation_count; number++) {
    POST_PROCESS(
      &at->post_operations[number], THE_VALUE, patterns->factors[number],
      load_spread((const float *)at->operands[number] + place, pixels, count, stride),
      load_spread((const float *)at->destination + place, pixels, count, stride))
  }
#undef THE_VALUE
  store_spread((float *)at->destination + place, value, pixels, count, stride);
}

#define DOT_PRODUCT(RESULTS, PIXELS) \
  CATENA_INLINE void dot_##RESULTS(const result_band *band, const lane_patterns *patterns) { \
    const direct_step *step = band->step; \
    int64_t columns = band->at->columns; \
    for (int64_t row = 0; row < band->rows; row++) { \
      for (int64_t column = 0; column < columns; column += PIXELS) { \
        int64_t here = catena_minimum(columns - column, PIXELS); \
        vector sums[LANES] = {0}; \
        const float *pixels[PIXELS], *next = band->weights; \
        UNROLL for (int32_t i = 0; i < PIXELS; i++) pixels[i] = source_of(band, row, column + (i < here ? i : 0)); \
        for (int32_t number = band->at->first_run; number < band->at->first_run + band->at->run_count; number++) { \
          int64_t begin = step->run_offsets[number]; \
          int64_t end = begin + step->plan.runs[number].taps * step->problem.source_channels; \
          for (int64_t k = begin; k < end; k += LANES, next += RESULTS * LANES) { \
            vector weights[RESULTS]; \
            UNROLL for (int32_t j = 0; j < RESULTS; j++) weights[j] = load(next + j * LANES); \
            UNROLL for (int32_t i = 0; i < PIXELS; i++) { \
              vector read = load(pixels[i] + k); \
              UNROLL for (int32_t j = 0; j < RESULTS; j++) sums[i * RESULTS + j] += read * weights[j]; \
            } \
          } \
        } \
        ADD_LANES \
        finish_dots(step, patterns, sums[0], place_of(band, row, column), here, RESULTS); \
      } \
    } \
  }

DOT_PRODUCT(1, 16)
DOT_PRODUCT(2, 8)
DOT_PRODUCT(3, 5)
DOT_PRODUCT(4, 4)
DOT_PRODUCT(5, 3)
DOT_PRODUCT(6, 2)
DOT_PRODUCT(7, 2)
DOT_PRODUCT(8, 2)

CATENA_INLINE void run_dots(const result_band *band) {
  lane_patterns patterns = patterns_of(band->step);
  switch (band->step->problem.destination_channels) {
  case 1: dot_1(band, &patterns); break;
  case 2: dot_2(band, &patterns); break;
  case 3: dot_3(band, &patterns); break;
  case 4: dot_4(band, &patterns); break;
  case 5: dot_5(band, &patterns); break;
  case 6: dot_6(band, &patterns); break;
  case 7: dot_7(band, &patterns); break;
  default: dot_8(band, &patterns); break;
  }
}

// MARK: Step

// Whether a band's pixels can be read in the image: it has no borders, and a vector beyond its end is in memory.
CATENA_INLINE bool reads_image(const result_band *band) {
  const catena_implicit_gemm *problem = &band->step->problem;
  if (!is_pointwise(&band->step->plan, problem)) return false;
  bool is_last = band->sample == problem->batch - 1 && band->first_row + band->rows == problem->source_height;
  return !is_last || !band->step->is_dot || problem->source_channels % LANES == 0;
}

CATENA_VECTORISED
static void run_band(result_band *band, float *memory) {
  const catena_implicit_gemm *problem = &band->step->problem;
  if (reads_image(band)) {
    int64_t line = band->sample * problem->source_height + band->first_row;
    band->source = (const float *)band->step->at.source + line * problem->source_width * problem->source_channels;
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

static void run_unit(const direct_step *step, int64_t unit, float *memory) {
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
  run_band(&band, memory);
}

static void run_share(void *arguments) {
  const direct_step *step = arguments;
  float *memory = (float *)(step->scratch + (size_t)catena_thread() * step->bytes_per_thread);
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
  catena_program *program, const catena_implicit_gemm *problem, const float *source, const float *packed,
  const float *bias, float *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  direct_step *step = catena_add_step(program, run_direct, sizeof(direct_step), NULL);
  *step = plan_of(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
}
