// Convolutions of few results, or of a number that is no multiple of a vector, as those of narrow and of cut networks:
// vectors run along neighbouring pixels, so that none is padding. The vectors of lines of more than half a vector begin
// where a line does; of shorter lines, which lie one behind the other, a vector goes on in the next one, and what it
// computes of the few pixels between two lines is left out. Finished pixels' channels are brought side by side and stored.
#include "planes.h"
#include "results.h"

#include <math.h>

enum {
  MAX_DEPTH = 512,
  // Results that are computed at a time.
  MAX_RESULTS = 14,
  // Vectors of pixels that are, and of sums.
  MAX_VECTORS = 8,
  MAX_SUMS = 28,
  BAND_BYTES = 64 << 10,
};

// MARK: Plan

// Floats in one line of all planes.
static int64_t line_floats(const planes_step *step, const plane_shape *shape) {
  return step->plan.source_row_step * step->plan.source_column_step * step->problem.source_channels * shape->pitch;
}

// Vectors of pixels that `rows` lines of a band are.
CATENA_INLINE int64_t band_vectors(const plane_shape *shape, int64_t rows, int64_t columns) {
  if (shape->vectors_per_line > 0) return rows * shape->vectors_per_line;
  return quotient_rounded_up((rows - 1) * shape->pitch + columns, LANES);
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
  shape.vectors_per_line = at->columns > LANES / 2 ? quotient_rounded_up(at->columns, LANES) : 0;
  // A transposed block, and a vector of pixels, may run over the end of its line.
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
  step.bytes_per_thread = (size_t)rounded_up(floats + LANES, LANES) * sizeof(float);
  return step;
}

size_t catena_planes_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads) {
  return plan_of(problem, threads).bytes_per_thread * (size_t)threads;
}

// Cycles for bringing a few channels of sixteen pixels side by side, or apart.
static double shuffle_cycles(int64_t channels) {
  if (channels > 8) return 150;
  if (channels > 4) return 90;
  return channels > 2 ? 60 : 20 * (double)channels;
}

double catena_planes_cycles(const catena_implicit_gemm *problem) {
  // Taps and phases of others have no room in a plan.
  if (!catena_implicit_gemm_is_possible(problem) || problem->reads_bfloat16) return INFINITY;
  tap_plan plan = taps_of(problem);
  if (deepest(&plan, problem->source_channels) > MAX_DEPTH || is_pointwise(&plan, problem)) return INFINITY;
  planes_step step = plan_of(problem, 1);
  // Offsets are kept in 32 bits.
  if (step.bytes_per_thread > INT32_MAX) return INFINITY;
  int64_t channels = problem->source_channels, results = problem->destination_channels;
  int64_t groups = quotient_rounded_up(results, step.group);
  // Copying sixteen pixels of the source, and storing sixteen of the results: whole pixels overrun, parts do not.
  int64_t blocks = problem->source_height * quotient_rounded_up(problem->source_width, LANES);
  double copying = shuffle_cycles(LANES) * (double)(channels / LANES) + shuffle_cycles(channels % LANES);
  double storing = shuffle_cycles(step.group) + (groups == 1 && plan.column_step == 1 ? 0 : 350);
  double sum = copying * (double)blocks;
  for (int32_t i = 0; i < plan.phase_count; i++) {
    const phase *at = &plan.phases[i];
    const plane_shape *shape = &step.shapes[i];
    int64_t vectors = shape->count * band_vectors(shape, shape->rows, at->columns);
    bool has_runs = shape->vectors_per_line > 0;
    sum += (double)vectors * ((double)(at->taps * channels * results) + (storing + (has_runs ? 0 : 250)) * (double)groups);
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

// MARK: Products

// VECTORS vectors of pixels, at `offsets` in a plane, to as many times RESULTS vectors of sums.
#define PLANE_PRODUCT(RESULTS, VECTORS) \
  CATENA_INLINE void product_##RESULTS( \
    const plane_band *band, const float *weights, const int32_t *offsets, float *results \
  ) { \
    int64_t channels = band->step->problem.source_channels, plane = band->shape->plane, at[VECTORS]; \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) at[j] = offsets[j]; \
    vector sums[RESULTS][VECTORS] = {0}; \
    for (int32_t tap = band->first_tap; tap < band->first_tap + band->at->taps; tap++) { \
      const float *from = band->planes + band->step->tap_offsets[tap]; \
      for (int64_t channel = 0; channel < channels; channel++, from += plane, weights += RESULTS) { \
        vector pixels[VECTORS]; \
        UNROLL for (int32_t j = 0; j < VECTORS; j++) pixels[j] = load(from + at[j]); \
        UNROLL for (int32_t i = 0; i < RESULTS; i++) { \
          UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] += weights[i] * pixels[j]; \
        } \
      } \
    } \
    UNROLL for (int32_t i = 0; i < RESULTS; i++) { \
      UNROLL for (int32_t j = 0; j < VECTORS; j++) store(results + (j * RESULTS + i) * LANES, sums[i][j]); \
    } \
  }

// DO(results, vectors of pixels): as many vectors as the registers of the widest instruction set hold sums of.
#define EACH_RESULT_COUNT(DO) \
  DO(1, 8) DO(2, 8) DO(3, 6) DO(4, 6) DO(5, 5) DO(6, 4) DO(7, 3) DO(8, 3) DO(9, 3) DO(10, 2) DO(11, 2) DO(12, 2) \
  DO(13, 2) DO(14, 2)

EACH_RESULT_COUNT(PLANE_PRODUCT)

// MARK: Results

// Where a vector of pixels begins in the lines of a band.
typedef struct {
  int32_t line, across;
} position;

CATENA_INLINE position next_position(const plane_band *band, position at) {
  at.across += LANES;
  if (band->shape->vectors_per_line > 0) {
    if (at.across >= band->at->columns) at = (position){at.line + 1, 0};
  } else {
    for (int32_t pitch = (int32_t)band->shape->pitch; at.across >= pitch; at.across -= pitch) at.line += 1;
  }
  return at;
}

// Where the sixteen pixels of a vector go.
typedef struct {
  int64_t first;
  // The first so many go side by side to element `first` of the destination and on, and what lies behind a whole vector of
  // them is in memory as well; 0 where that is not so.
  int32_t run;
  // Whether what lies behind them are results that are stored later.
  bool is_followed;
  // Where they are no run, lanes[i] goes to element places[i].
  int32_t lanes[LANES], count;
  int64_t places[LANES];
} pixel_places;

CATENA_INLINE void find_places(
  const plane_band *band, position at, int64_t column, int64_t count, bool is_last, pixel_places *found
) {
  const catena_implicit_gemm *problem = &band->step->problem;
  const tap_plan *plan = &band->step->plan;
  int64_t channels = problem->destination_channels, columns = band->at->columns;
  int64_t step = plan->column_step * channels, line_step = plan->row_step * problem->destination_width * channels;
  int64_t row = band->at->first_row + (band->first_row + at.line) * plan->row_step;
  int64_t line =
    ((band->sample * problem->destination_height + row) * problem->destination_width + band->at->first_column) * channels
    + column;
  found->first = line + at.across * step;
  bool leaves_line = band->shape->vectors_per_line == 0;
  bool is_inside = found->first + LANES * (count + 1) <= result_elements(problem);
  found->run = !leaves_line && step == count && is_inside ? (int32_t)catena_minimum(columns - at.across, LANES) : 0;
  found->is_followed = !is_last && plan->row_step == 1 && band->step->stores_alone;
  if (found->run > 0) return;
  int32_t across = at.across, pitch = (int32_t)band->shape->pitch;
  found->count = 0;
  for (int32_t i = 0, rows = at.line; i < LANES && rows < band->rows; i++) {
    if (across < columns) {
      found->lanes[found->count] = i;
      found->places[found->count++] = line + across * step;
    }
    across += 1;
    if (across == pitch) {
      if (!leaves_line) return;
      across = 0;
      rows += 1;
      line += line_step;
    }
  }
}

// What bias and post-operations have for the channels of a group of results, with zeros behind them.
typedef struct {
  float bias[LANES], factors[CATENA_MAX_POST_OPERATIONS][LANES];
} channel_values;

CATENA_INLINE void find_channel_values(
  const product_operands *at, int64_t column, int64_t count, channel_values *found
) {
  memset(found, 0, sizeof *found);
  if (at->bias != NULL) memcpy(found->bias, at->bias + column, (size_t)count * sizeof(float));
  for (int32_t i = 0; i < at->post_operation_count; i++) {
    if (at->post_operations[i].kind != CATENA_POST_MULTIPLY_CHANNEL) continue;
    memcpy(found->factors[i], (const float *)at->operands[i] + column, (size_t)count * sizeof(float));
  }
}

#define EACH_ROW(GROUP, EXPRESSION) \
  UNROLL for (int32_t i = 0; i < GROUP; i++) { \
    vector value = rows[i]; \
    rows[i] = (EXPRESSION); \
  }
#define EACH_ROW_OF_1(EXPRESSION) EACH_ROW(1, EXPRESSION)
#define EACH_ROW_OF_2(EXPRESSION) EACH_ROW(2, EXPRESSION)
#define EACH_ROW_OF_4(EXPRESSION) EACH_ROW(4, EXPRESSION)
#define EACH_ROW_OF_8(EXPRESSION) EACH_ROW(8, EXPRESSION)
#define EACH_ROW_OF_16(EXPRESSION) EACH_ROW(16, EXPRESSION)

// Bias, post-operations and stores of a vector of pixels, of which there are `count` vectors of sums. What a channel has
// in common is done before the pixels' channels are brought side by side, what reads an image behind that.
#define FINISH(GROUP) \
  CATENA_INLINE void finish_##GROUP( \
    const plane_band *band, const float *results, int64_t count, const pixel_places *pixels, \
    const channel_values *values \
  ) { \
    const product_operands *at = &band->step->at; \
    const catena_post_operation *operations = at->post_operations; \
    vector rows[GROUP]; \
    UNROLL for (int32_t i = 0; i < GROUP; i++) rows[i] = i < count ? load(results + i * LANES) : (vector){0}; \
    if (at->bias != NULL) { EACH_ROW(GROUP, value + broadcast(values->bias[i])) } \
    int32_t number = 0; \
    for (; number < at->post_operation_count; number++) { \
      catena_post_kind kind = operations[number].kind; \
      if (kind != CATENA_POST_ELTWISE && kind != CATENA_POST_MULTIPLY_CHANNEL) break; \
      POST_PROCESS( \
        &operations[number], EACH_ROW_OF_##GROUP, broadcast(values->factors[number][i]), value, value) \
    } \
    pixels_of_channels_##GROUP(rows); \
    float copied[LANES * GROUP]; \
    float *destination = at->destination; \
    for (; number < at->post_operation_count; number++) { \
      catena_post_kind kind = operations[number].kind; \
      const float *operand = kind == CATENA_POST_SUM ? destination : at->operands[number]; \
      vector image[GROUP] = {0}, channel = {0}; \
      if (kind == CATENA_POST_MULTIPLY_CHANNEL) { \
        UNROLL for (int32_t i = 0; i < LANES; i++) copied[i] = values->factors[number][i % GROUP]; \
        channel = load(copied); \
      } else if (kind != CATENA_POST_ELTWISE && pixels->run > 0) { \
        UNROLL for (int32_t i = 0; i < GROUP; i++) { \
          image[i] = load_pixels_##GROUP(operand + pixels->first + i * (LANES / GROUP) * count, count); \
        } \
      } else if (kind != CATENA_POST_ELTWISE) { \
        memset(copied, 0, sizeof copied); \
        for (int32_t i = 0; i < pixels->count; i++) { \
          copy_group_##GROUP(copied + pixels->lanes[i] * GROUP, operand + pixels->places[i], count); \
        } \
        UNROLL for (int32_t i = 0; i < GROUP; i++) image[i] = load(copied + i * LANES); \
      } \
      POST_PROCESS(&operations[number], EACH_ROW_OF_##GROUP, channel, image[i], image[i]) \
    } \
    if (pixels->run > 0) { \
      /* A group's padding is written over by the next pixel, whose operands were read before; the last pixel's is not. */ \
      bool is_cut = count < GROUP && !pixels->is_followed; \
      int32_t whole = pixels->run - is_cut, last = pixels->run - 1; \
      float *to = destination + pixels->first; \
      UNROLL for (int32_t i = 0; i < GROUP; i++) { \
        int32_t begin = i * (LANES / GROUP); \
        store_pixels_##GROUP(to + begin * count, rows[i], count, whole - begin); \
        if (is_cut && last / (LANES / GROUP) == i) store(copied, rows[i]); \
      } \
      if (is_cut) copy_group_##GROUP(to + last * count, copied + last % (LANES / GROUP) * GROUP, count); \
    } else { \
      UNROLL for (int32_t i = 0; i < GROUP; i++) store(copied + i * LANES, rows[i]); \
      for (int32_t i = 0; i < pixels->count; i++) { \
        copy_group_##GROUP(destination + pixels->places[i], copied + pixels->lanes[i] * GROUP, count); \
      } \
    } \
  }

FINISH(1)
FINISH(2)
FINISH(4)
FINISH(8)
FINISH(16)

// MARK: Step

// The vectors of pixels at `next`, which goes on behind them, beyond the last of `vectors` it again. Gives their number.
CATENA_INLINE int32_t multiply(
  const plane_band *band, const float *weights, int64_t count, int32_t vectors, position *next, position *at,
  float *results
) {
#define MULTIPLY(RESULTS, VECTORS) \
  case RESULTS: { \
    int32_t offsets[VECTORS]; \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      at[j] = *next; \
      offsets[j] = next->line * (int32_t)band->shape->pitch + next->across; \
      if (j + 1 < vectors) *next = next_position(band, *next); \
    } \
    product_##RESULTS(band, weights, offsets, results); \
    return VECTORS; \
  }
  switch (count) {
    EACH_RESULT_COUNT(MULTIPLY)
  default: return vectors;
  }
#undef MULTIPLY
}

// All vectors of pixels, `count` results from `column` of each.
CATENA_INLINE void run_group(const plane_band *band, const float *weights, int64_t column, int64_t count) {
  int32_t vectors = (int32_t)band_vectors(band->shape, band->rows, band->at->columns);
  channel_values values;
  find_channel_values(&band->step->at, column, count, &values);
  position next = {0, 0};
  while (vectors > 0) {
    float results[MAX_SUMS * LANES];
    position at[MAX_VECTORS];
    int32_t here = multiply(band, weights, count, vectors, &next, at, results);
    for (int32_t j = 0; j < here && j < vectors; j++) {
      pixel_places pixels;
      find_places(band, at[j], column, count, j + 1 == vectors, &pixels);
      const float *sums = results + j * count * LANES;
      if (count > 8) {
        finish_16(band, sums, count, &pixels, &values);
      } else if (count > 4) {
        finish_8(band, sums, count, &pixels, &values);
      } else if (count > 2) {
        finish_4(band, sums, count, &pixels, &values);
      } else if (count > 1) {
        finish_2(band, sums, count, &pixels, &values);
      } else {
        finish_1(band, sums, count, &pixels, &values);
      }
    }
    vectors -= here;
  }
}

CATENA_VECTORISED
static void run_band(plane_band *band, float *memory) {
  fill_planes(band, memory);
  band->planes = memory;
  const catena_implicit_gemm *problem = &band->step->problem;
  const float *weights = band->weights;
  for (int64_t column = 0; column < problem->destination_channels; column += band->step->group) {
    int64_t count = catena_minimum(problem->destination_channels - column, band->step->group);
    run_group(band, weights, column, count);
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
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  planes_step *step = catena_add_step(program, run_planes, sizeof(planes_step), NULL);
  *step = plan_of(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
  step->stores_alone = true;
  for (int32_t i = 0; i < post_operation_count; i++) {
    catena_post_kind kind = post_operations[i].kind;
    if (kind == CATENA_POST_SUM || kind == CATENA_POST_ADD_TENSOR) step->stores_alone = false;
  }
}
