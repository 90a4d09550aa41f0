// Convolutions whose results are no multiple of a vector, as those of narrow and of cut networks: vectors run along
// neighbouring pixels, so that none is padding. A band of the source's lines is copied once into planes, one per channel
// (and, where the convolution has strides, per remainder of line and column), between zeros; every tap is a distance
// in a plane. The lines of a plane lie one behind the other: a vector goes on in the next line, and what it computes of
// the few pixels between two lines is left out. Finished pixels are transposed and stored as everywhere.
#include "lane_swaps.h"
#include "results.h"
#include "taps.h"

#include <math.h>

enum {
  MAX_DEPTH = 512,
  // Results that are computed at a time, and the vectors of pixels.
  MIN_RESULTS = 7,
  MAX_RESULTS = 12,
  MAX_VECTORS = 3,
  BAND_BYTES = 64 << 10,
};

// How the lines of a phase are cut into bands, and the planes of one.
typedef struct {
  // Lines of results in a band, and bands per sample.
  int64_t rows, count;
  // The source pixel that the first tap of the band's first result reads lies so far from that of its first result.
  int64_t top, left;
  // Lines that a line of results reads beyond its own, of the same remainder; pixels in a line; floats in a plane.
  int64_t reach, pitch, plane;
} plane_shape;

typedef struct {
  catena_implicit_gemm problem;
  tap_plan plan;
  plane_shape shapes[MAX_PHASES];
  int64_t units;
  // Results in all groups but the last, which may have fewer.
  int64_t group;
  // The distance of a tap in the planes.
  int32_t tap_offsets[MAX_TAPS];
  product_operands at;
  char *scratch;
  size_t bytes_per_thread;
} planes_step;

// MARK: Plan

// Floats in one line of all planes.
static int64_t line_floats(const planes_step *step, const plane_shape *shape) {
  return step->plan.source_row_step * step->plan.source_column_step * step->problem.source_channels * shape->pitch;
}

static plane_shape shape_of(const planes_step *step, const phase *at, int32_t threads) {
  const tap_plan *plan = &step->plan;
  int64_t top = 0, bottom = 0, left = 0, right = 0;
  for (int32_t i = 0; i < at->run_count; i++) {
    tap_run run = plan->runs[at->first_run + i];
    top = i == 0 ? run.row : catena_minimum(top, run.row);
    bottom = i == 0 ? run.row : catena_maximum(bottom, run.row);
    left = i == 0 ? run.column : catena_minimum(left, run.column);
    right = i == 0 ? run.column + run.taps - 1 : catena_maximum(right, run.column + run.taps - 1);
  }
  plane_shape shape = {.top = top, .left = left, .reach = (bottom - top) / plan->source_row_step};
  shape.pitch = at->columns + (right - left) / plan->source_column_step;
  int64_t line_bytes = line_floats(step, &shape) * (int64_t)sizeof(float);
  int64_t fitting = BAND_BYTES / catena_maximum(line_bytes, 1) - shape.reach;
  shape.rows = catena_even_part(at->rows, step->problem.batch, catena_maximum(fitting, 1), threads);
  shape.count = (at->rows + shape.rows - 1) / shape.rows;
  // A transposed block may run over the end of its line.
  shape.plane = (shape.rows + shape.reach) * shape.pitch + LANES;
  return shape;
}

static planes_step plan_of(const catena_implicit_gemm *problem, int32_t threads) {
  planes_step step = {.problem = *problem, .plan = taps_of(problem)};
  const tap_plan *plan = &step.plan;
  int64_t groups = quotient_rounded_up(problem->destination_channels, MAX_RESULTS);
  step.group = quotient_rounded_up(problem->destination_channels, groups);
  int64_t floats = 0;
  int32_t tap = 0;
  for (int32_t i = 0; i < plan->phase_count; i++) {
    const phase *at = &plan->phases[i];
    if (at->rows == 0 || at->columns == 0) {
      tap += at->taps;
      continue;
    }
    plane_shape shape = shape_of(&step, at, threads);
    for (int32_t number = at->first_run; number < at->first_run + at->run_count; number++) {
      int64_t down = plan->runs[number].row - shape.top;
      for (int64_t j = 0; j < plan->runs[number].taps; j++) {
        int64_t across = plan->runs[number].column + j - shape.left;
        int64_t remainder =
          down % plan->source_row_step * plan->source_column_step + across % plan->source_column_step;
        step.tap_offsets[tap++] = (int32_t)(
          remainder * problem->source_channels * shape.plane + down / plan->source_row_step * shape.pitch
          + across / plan->source_column_step);
      }
    }
    int64_t planes = plan->source_row_step * plan->source_column_step * problem->source_channels;
    floats = catena_maximum(floats, planes * shape.plane);
    step.units += problem->batch * shape.count;
    step.shapes[i] = shape;
  }
  // The last vectors of pixels may run over the end of the last plane.
  step.bytes_per_thread = (size_t)rounded_up(floats + MAX_VECTORS * LANES, LANES) * sizeof(float);
  return step;
}

size_t catena_planes_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads) {
  return plan_of(problem, threads).bytes_per_thread * (size_t)threads;
}

// Whether all groups of results are of a size that is computed: not so where dot products, or vectors along the results,
// are as good.
static bool has_groups(const planes_step *step) {
  int64_t results = step->problem.destination_channels, last = (results - 1) % step->group + 1;
  return step->group >= MIN_RESULTS && last >= MIN_RESULTS && (results <= MAX_RESULTS || results > LANES);
}

double catena_planes_cycles(const catena_implicit_gemm *problem) {
  tap_plan plan = taps_of(problem);
  bool is_deep = deepest(&plan, problem->source_channels) > MAX_DEPTH;
  if (!catena_implicit_gemm_is_possible(problem) || is_deep || is_pointwise(&plan, problem)) return INFINITY;
  planes_step step = plan_of(problem, 1);
  // Offsets are kept in 32 bits.
  if (!has_groups(&step) || step.bytes_per_thread > INT32_MAX) return INFINITY;
  int64_t channels = problem->source_channels, results = problem->destination_channels;
  int64_t groups = quotient_rounded_up(results, step.group);
  // Copying sixteen pixels of the source, and storing one of the results: whole pixels overrun, parts do not.
  int64_t blocks = problem->source_height * quotient_rounded_up(problem->source_width, LANES);
  double copying = channels < 4 ? 48.0 * (double)channels : 200.0 * (double)quotient_rounded_up(channels, LANES);
  double storing = groups == 1 && 2 * results >= LANES ? 20 : 24.0 * (double)groups;
  double sum = copying * (double)blocks;
  for (int32_t i = 0; i < plan.phase_count; i++) {
    const phase *at = &plan.phases[i];
    const plane_shape *shape = &step.shapes[i];
    int64_t vectors = shape->count * quotient_rounded_up(shape->rows * shape->pitch, LANES);
    sum += (double)(vectors * at->taps * channels * results) + storing * (double)(at->rows * at->columns);
  }
  return sum;
}

// MARK: Weights

size_t catena_planes_weight_bytes(const catena_implicit_gemm *problem) {
  int64_t taps = problem->kernel_height * problem->kernel_width;
  return (size_t)(taps * problem->source_channels * problem->destination_channels) * sizeof(float);
}

// Phase by phase, group by group, tap by tap, channel by channel.
void catena_planes_pack(const catena_implicit_gemm *problem, const float *weights, float *packed) {
  planes_step step = plan_of(problem, 1);
  int64_t taps = problem->kernel_height * problem->kernel_width, channels = problem->source_channels;
  int32_t first_tap = 0;
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    int32_t end = first_tap + step.plan.phases[i].taps;
    for (int64_t first = 0; first < problem->destination_channels; first += step.group) {
      int64_t last = catena_minimum(first + step.group, problem->destination_channels);
      for (int32_t tap = first_tap; tap < end; tap++) {
        for (int64_t channel = 0; channel < channels; channel++) {
          for (int64_t result = first; result < last; result++) {
            *packed++ = weights[(result * channels + channel) * taps + step.plan.kernel_positions[tap]];
          }
        }
      }
    }
    first_tap = end;
  }
}

// MARK: Planes

// A band of a phase's results in one sample.
typedef struct {
  const planes_step *step;
  const phase *at;
  const plane_shape *shape;
  const float *weights, *planes;
  int64_t sample, first_row, rows;
  int32_t first_tap;
} plane_band;

// Sixteen pixels of the three channels that most images have.
CATENA_INLINE void spread_triples(const float *from, float *to, int64_t plane) {
  vector a = load(from), b = load(from + LANES), c = load(from + 2 * LANES);
  vector first = __builtin_shufflevector(a, b, 0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30, -1, -1, -1, -1, -1);
  vector second = __builtin_shufflevector(a, b, 1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, -1, -1, -1, -1, -1);
  vector third = __builtin_shufflevector(a, b, 2, 5, 8, 11, 14, 17, 20, 23, 26, 29, -1, -1, -1, -1, -1, -1);
  store(to, __builtin_shufflevector(first, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 20, 23, 26, 29));
  store(to + plane, __builtin_shufflevector(second, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 18, 21, 24, 27, 30));
  store(to + 2 * plane, __builtin_shufflevector(third, c, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 19, 22, 25, 28, 31));
}

// Sixteen pixels, `stride` floats apart, of which `count` exist, to as many planes as there are channels.
CATENA_INLINE void spread_pixels(
  const float *from, int64_t count, int64_t stride, int64_t channels, int64_t readable, float *to, int64_t plane
) {
  for (int64_t first = 0; first < channels; first += LANES) {
    int64_t lanes = catena_minimum(channels - first, LANES);
    if (channels == 3 && stride == 3 && count == LANES) {
      spread_triples(from, to, plane);
      continue;
    }
    if (lanes < 4) {
      for (int64_t channel = first; channel < channels; channel++) {
        for (int64_t i = 0; i < count; i++) to[channel * plane + i] = from[i * stride + channel];
      }
      continue;
    }
    vector rows[LANES];
    bool is_inside = (count - 1) * stride + first + LANES <= readable;
    if (count == LANES && is_inside) {
      UNROLL for (int32_t i = 0; i < LANES; i++) rows[i] = load(from + i * stride + first);
    } else {
      UNROLL for (int32_t i = 0; i < LANES; i++) {
        rows[i] = i < count ? load_lanes(from + i * stride + first, is_inside ? LANES : lanes) : (vector){0};
      }
    }
    transpose(rows);
    UNROLL for (int32_t i = 0; i < LANES; i++) {
      if (i >= lanes) break;
      store(to + (first + i) * plane, rows[i]);
    }
  }
}

// One line of the planes of one remainder: the source's line `row`, its columns from `first`, every `step`-th.
CATENA_INLINE void fill_line(const plane_band *band, int64_t row, int64_t first, int64_t step, float *to) {
  const catena_implicit_gemm *problem = &band->step->problem;
  int64_t channels = problem->source_channels, pitch = band->shape->pitch, plane = band->shape->plane;
  bool is_inside = row >= 0 && row < problem->source_height;
  int64_t low = is_inside ? catena_minimum(quotient_rounded_up(catena_maximum(-first, 0), step), pitch) : pitch;
  int64_t end = catena_maximum(problem->source_width - first, 0);
  int64_t high = catena_maximum(catena_minimum(quotient_rounded_up(end, step), pitch), low);
  for (int64_t channel = 0; channel < channels; channel++) {
    for (int64_t i = 0; i < low; i++) to[channel * plane + i] = 0;
  }
  const float *source = band->step->at.source;
  int64_t line = (band->sample * problem->source_height + row) * problem->source_width;
  int64_t elements = problem->batch * problem->source_height * problem->source_width * channels;
  for (int64_t next = low; next < high; next += LANES) {
    // The last pixels once more rather than a part of a vector.
    int64_t i = catena_maximum(catena_minimum(next, high - LANES), low);
    int64_t index = (line + first + i * step) * channels;
    spread_pixels(
      source + index, catena_minimum(high - i, LANES), step * channels, channels, elements - index, to + i, plane);
  }
  for (int64_t channel = 0; channel < channels; channel++) {
    for (int64_t i = high; i < pitch; i++) to[channel * plane + i] = 0;
  }
}

CATENA_INLINE void fill_planes(const plane_band *band, float *memory) {
  const tap_plan *plan = &band->step->plan;
  const plane_shape *shape = band->shape;
  int64_t channels = band->step->problem.source_channels;
  int64_t top = band->first_row * plan->source_row_step + shape->top;
  for (int64_t down = 0; down < plan->source_row_step; down++) {
    for (int64_t across = 0; across < plan->source_column_step; across++) {
      float *to = memory + (down * plan->source_column_step + across) * channels * shape->plane;
      for (int64_t i = 0; i < band->rows + shape->reach; i++) {
        fill_line(
          band, top + i * plan->source_row_step + down, shape->left + across, plan->source_column_step,
          to + i * shape->pitch);
      }
    }
  }
}

// MARK: Products

// The pixels from number `first` of a band's planes, VECTORS vectors of them, to RESULTS rows of sums.
#define PLANE_PRODUCT(RESULTS, VECTORS) \
  CATENA_INLINE void product_##RESULTS##_##VECTORS( \
    const plane_band *band, const float *weights, int64_t first, float *results \
  ) { \
    int64_t channels = band->step->problem.source_channels, plane = band->shape->plane; \
    vector sums[RESULTS][VECTORS] = {0}; \
    for (int32_t tap = band->first_tap; tap < band->first_tap + band->at->taps; tap++) { \
      const float *from = band->planes + band->step->tap_offsets[tap] + first; \
      for (int64_t channel = 0; channel < channels; channel++, from += plane, weights += RESULTS) { \
        vector pixels[VECTORS]; \
        UNROLL for (int32_t j = 0; j < VECTORS; j++) pixels[j] = load(from + j * LANES); \
        UNROLL for (int32_t i = 0; i < RESULTS; i++) { \
          UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] += weights[i] * pixels[j]; \
        } \
      } \
    } \
    UNROLL for (int32_t i = 0; i < RESULTS; i++) { \
      UNROLL for (int32_t j = 0; j < VECTORS; j++) store(results + (i * VECTORS + j) * LANES, sums[i][j]); \
    } \
  }

// As many vectors of pixels as the registers of the widest instruction set hold sums of.
#define EACH_RESULT_COUNT(DO) \
  DO(7, 3) DO(8, 3) DO(9, 3) DO(10, 2) DO(11, 2) DO(12, 2)

#define WIDE_AND_NARROW(RESULTS, VECTORS) PLANE_PRODUCT(RESULTS, VECTORS) PLANE_PRODUCT(RESULTS, 1)
EACH_RESULT_COUNT(WIDE_AND_NARROW)

// Multiplies the next vectors of pixels and says how many they were.
CATENA_INLINE int64_t multiply(
  const plane_band *band, const float *weights, int64_t count, int64_t first, int64_t vectors, float *results
) {
#define WIDE_OR_NARROW(RESULTS, VECTORS) \
  case RESULTS: \
    if (vectors >= VECTORS) { \
      product_##RESULTS##_##VECTORS(band, weights, first, results); \
      return VECTORS; \
    } \
    product_##RESULTS##_1(band, weights, first, results); \
    return 1;
  switch (count) {
    EACH_RESULT_COUNT(WIDE_OR_NARROW)
  default: return vectors;
  }
}

// MARK: Results

#define EACH_OF_16(EXPRESSION) EACH_SUM(1, LANES, EXPRESSION)

// Bias and the post-operations up to the first that reads an image, which need no more vectors than there are results.
// Gives the number of that operation.
CATENA_INLINE int32_t finish_channels(const product_operands *at, vector sums[LANES][1], int64_t column, int64_t count) {
#define OF_CHANNEL(VALUES) broadcast(i < count ? (VALUES)[column + i] : 0)
  if (at->bias != NULL) { EACH_OF_16(value + OF_CHANNEL(at->bias)) }
  for (int32_t number = 0; number < at->post_operation_count; number++) {
    catena_post_kind kind = at->post_operations[number].kind;
    if (kind != CATENA_POST_ELTWISE && kind != CATENA_POST_MULTIPLY_CHANNEL) return number;
    POST_PROCESS(
      &at->post_operations[number], EACH_OF_16, OF_CHANNEL((const float *)at->operands[number]), value, value)
  }
#undef OF_CHANNEL
  return at->post_operation_count;
}

// Stores `here` pixels' results of channels from `column`, after the post-operations from number `first`.
CATENA_INLINE void store_pixels(
  const planes_step *step, vector sums[LANES][1], const int64_t places[LANES], int64_t here, int64_t column,
  int64_t last_lanes, int32_t first
) {
  vector channel[1];
  POST_OPERATIONS(EACH_OF_16, 1, &step->at, first, result_elements(&step->problem))
  STORE_SUMS(1, LANES, &step->at, step->problem.destination_channels)
}

// Finishes a vector of pixels, its `count` results `distance` floats apart, and stores those that are no padding.
CATENA_INLINE void finish(
  const plane_band *band, const float *results, int64_t count, int64_t distance, int64_t first, int64_t column
) {
  const catena_implicit_gemm *problem = &band->step->problem;
  const tap_plan *plan = &band->step->plan;
  vector sums[LANES][1];
  UNROLL for (int32_t i = 0; i < LANES; i++) sums[i][0] = i < count ? load(results + i * distance) : (vector){0};
  int32_t done = finish_channels(&band->step->at, sums, column, count);
  transpose(&sums[0][0]);
  int64_t places[LANES], step = plan->column_step * problem->destination_channels, columns = band->at->columns;
  int32_t pitch = (int32_t)band->shape->pitch, line = (int32_t)first / pitch, across = (int32_t)first % pitch;
  int64_t line_step = plan->row_step * problem->destination_width * problem->destination_channels;
  int64_t place =
    ((band->sample * problem->destination_height + band->at->first_row + (band->first_row + line) * plan->row_step)
     * problem->destination_width + band->at->first_column) * problem->destination_channels + column;
  if (across + LANES <= columns) {
    UNROLL for (int32_t i = 0; i < LANES; i++) places[i] = place + (across + i) * step;
    store_pixels(band->step, sums, places, LANES, column, count, done);
    return;
  }
  int64_t here = 0;
  for (int32_t i = 0; i < LANES && line < band->rows; i++) {
    if (across < columns) {
      sums[here][0] = sums[i][0];
      places[here++] = place + across * step;
    }
    across += 1;
    if (across == pitch) {
      across = 0;
      line += 1;
      place += line_step;
    }
  }
  if (here == 0) return;
  for (int64_t i = here; i < LANES; i++) places[i] = places[0];
  store_pixels(band->step, sums, places, here, column, count, done);
}

// MARK: Step

CATENA_VECTORISED
static void run_band(plane_band *band, float *memory) {
  fill_planes(band, memory);
  band->planes = memory;
  const catena_implicit_gemm *problem = &band->step->problem;
  int64_t pixels = (band->rows - 1) * band->shape->pitch + band->at->columns;
  const float *weights = band->weights;
  for (int64_t column = 0; column < problem->destination_channels; column += band->step->group) {
    int64_t count = catena_minimum(problem->destination_channels - column, band->step->group);
    for (int64_t first = 0; first < pixels;) {
      float results[MAX_RESULTS * MAX_VECTORS * LANES];
      int64_t vectors =
        multiply(band, weights, count, first, quotient_rounded_up(pixels - first, LANES), results);
      for (int64_t j = 0; j < vectors; j++, first += LANES) {
        finish(band, results + j * LANES, count, vectors * LANES, first, column);
      }
    }
    weights += band->at->taps * problem->source_channels * count;
  }
}

static void run_unit(const planes_step *step, int64_t unit, float *memory) {
  const catena_implicit_gemm *problem = &step->problem;
  const float *weights = step->at.weights;
  int32_t number = 0, first_tap = 0;
  while (unit >= problem->batch * step->shapes[number].count) {
    unit -= problem->batch * step->shapes[number].count;
    weights += step->plan.phases[number].taps * problem->source_channels * problem->destination_channels;
    first_tap += step->plan.phases[number].taps;
    number += 1;
  }
  const phase *at = &step->plan.phases[number];
  const plane_shape *shape = &step->shapes[number];
  int64_t first_row = unit % shape->count * shape->rows;
  plane_band band = {
    .step = step, .at = at, .shape = shape, .weights = weights, .sample = unit / shape->count, .first_row = first_row,
    .rows = catena_minimum(at->rows - first_row, shape->rows), .first_tap = first_tap,
  };
  run_band(&band, memory);
}

static void run_share(void *arguments) {
  const planes_step *step = arguments;
  float *memory = (float *)(step->scratch + (size_t)catena_thread() * step->bytes_per_thread);
  catena_range share = catena_share(step->units);
  for (int64_t unit = share.begin; unit < share.end; unit++) run_unit(step, unit, memory);
}

static catena_status run_planes(const void *arguments) {
  const planes_step *step = arguments;
  const catena_implicit_gemm *problem = &step->problem;
  int64_t results = problem->batch * problem->destination_height * problem->destination_width;
  catena_parallel(run_share, arguments, results * deepest(&step->plan, problem->source_channels));
  return catena_success;
}

void catena_add_planes(
  catena_program *program, const catena_implicit_gemm *problem, const float *source, const float *packed,
  const float *bias, float *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  planes_step *step = catena_add_step(program, run_planes, sizeof(planes_step), NULL);
  *step = plan_of(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
}
