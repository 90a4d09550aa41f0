// Convolutions on channels-last images and matrix products as one product of matrices: rows are pixels of the result,
// columns its channels, and the depth runs over taps and source channels (implicit GEMM; Chetlur et al., "cuDNN", 2014).
// The rows of a block of pixels are gathered chunk by chunk of the depth, so that they and the weights they meet stay in
// the second-level cache; a 1 x 1 convolution of stride 1 reads the image itself. What follows the product is done in
// registers. Any number of channels; the last vector of columns is padded in the packed weights only.
#include "results.h"
#include "taps.h"

enum {
  // Source channels x taps that are multiplied at a time: a panel's weights of one chunk take 128 KB.
  MAX_CHUNK = 512,
  BLOCK_BYTES = 256 << 10,
  // Cycles that a vector of weights takes to arrive from memory that the threads share.
  WEIGHT_CYCLES = 8,
};

typedef struct {
  catena_implicit_gemm problem;
  tap_plan plan;
  int64_t block_rows, blocks[MAX_PHASES], all_blocks, column_groups, columns;
  product_operands at;
  char *scratch;
  size_t bytes_per_thread;
} gemm_step;

bool catena_panels_are_fast(void) {
#ifdef __OPTIMIZE__
  return true;
#else
  return false;
#endif
}

bool catena_implicit_gemm_is_possible(const catena_implicit_gemm *problem) {
  int64_t phases = problem->is_backward_data ? problem->row_stride * problem->column_stride : 1;
  return problem->kernel_height * problem->kernel_width <= MAX_TAPS && phases <= MAX_PHASES;
}

// MARK: Plan

CATENA_INLINE int64_t chunk_count(int64_t depth) { return (depth + MAX_CHUNK - 1) / MAX_CHUNK; }

// The first of a chunk's taps x channels.
CATENA_INLINE int64_t chunk_begin(int64_t depth, int64_t chunk) { return depth * chunk / chunk_count(depth); }

// The most taps x channels of a chunk: a phase with fewer than another may have larger chunks.
static int64_t largest_chunk(const tap_plan *plan, int64_t channels) {
  int64_t largest = 0;
  for (int32_t i = 0; i < plan->phase_count; i++) {
    int64_t depth = plan->phases[i].taps * channels;
    if (depth > 0) largest = catena_maximum(largest, quotient_rounded_up(depth, chunk_count(depth)));
  }
  return largest;
}

CATENA_INLINE int64_t first_panel(const gemm_step *step, int64_t group, int64_t groups) {
  int64_t panels = quotient_rounded_up(step->columns, MAX_PANEL * LANES);
  return catena_minimum(panels * group / groups * MAX_PANEL * LANES, step->columns);
}

// In how many groups of columns the threads share a few rows: as many as there are threads, where that is expected to take
// less time than sharing the rows, of which every thread meets all weights.
static int64_t groups_of_columns(const gemm_step *step, int64_t pixels, int64_t rows_at_a_time, int64_t threads) {
  int64_t sets = quotient_rounded_up(pixels, rows_at_a_time), widest = 0;
  for (int64_t group = 0; group < threads; group++) {
    widest = catena_maximum(widest, first_panel(step, group + 1, threads) - first_panel(step, group, threads));
  }
  int64_t by_columns = widest * (sets * rows_at_a_time + WEIGHT_CYCLES);
  int64_t by_rows = step->columns * (quotient_rounded_up(sets, threads) * rows_at_a_time + WEIGHT_CYCLES);
  return by_columns < by_rows ? threads : 1;
}

static gemm_step plan_of(const catena_implicit_gemm *problem, int32_t threads) {
  gemm_step step = {.problem = *problem, .plan = taps_of(problem)};
  int64_t chunk = largest_chunk(&step.plan, problem->source_channels);
  step.columns = rounded_up(problem->destination_channels, LANES);
  int64_t row_bytes = (chunk + step.columns) * (int64_t)sizeof(float);
  int64_t pixels = problem->batch * step.plan.phases[0].rows * step.plan.phases[0].columns;
  int64_t rows = rows_at_a_time(panel_width(step.columns));
  int64_t most = catena_maximum(BLOCK_BYTES / row_bytes / rows, 1) * rows;
  bool is_one_block = step.plan.phase_count == 1 && pixels <= most;
  step.column_groups = is_one_block ? groups_of_columns(&step, pixels, rows, threads) : 1;
  step.block_rows = step.column_groups > 1 ? pixels : rounded_up(catena_even_part(pixels, 1, most, threads), rows);
  for (int32_t i = 0; i < step.plan.phase_count; i++) {
    const phase *at = &step.plan.phases[i];
    step.blocks[i] = (problem->batch * at->rows * at->columns + step.block_rows - 1) / step.block_rows;
    step.all_blocks += step.blocks[i];
  }
  step.bytes_per_thread = (size_t)(step.block_rows * (row_bytes + (int64_t)sizeof(int64_t)) + 64);
  return step;
}

size_t catena_implicit_gemm_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads) {
  return plan_of(problem, threads).bytes_per_thread * (size_t)threads;
}

// MARK: Weights

size_t catena_implicit_gemm_weight_bytes(const catena_implicit_gemm *problem) {
  return (size_t)(
    problem->kernel_height * problem->kernel_width * problem->source_channels
    * rounded_up(problem->destination_channels, LANES)) * sizeof(float);
}

// Phase by phase, panel by panel, a row of columns for every tap and source channel.
void catena_implicit_gemm_pack(const catena_implicit_gemm *problem, const float *weights, float *packed) {
  tap_plan plan = taps_of(problem);
  int64_t taps = problem->kernel_height * problem->kernel_width, channels = problem->source_channels;
  int64_t columns = rounded_up(problem->destination_channels, LANES);
  int32_t first_tap = 0;
  for (int32_t i = 0; i < plan.phase_count; i++) {
    for (int64_t panel = 0; panel < columns; panel += MAX_PANEL * LANES) {
      int64_t width = panel_width(columns - panel);
      for (int32_t tap = first_tap; tap < first_tap + plan.phases[i].taps; tap++) {
        for (int64_t channel = 0; channel < channels; channel++) {
          for (int64_t column = panel; column < panel + width; column++) {
            bool is_padding = column >= problem->destination_channels;
            *packed++ = is_padding ? 0 : weights[(column * channels + channel) * taps + plan.kernel_positions[tap]];
          }
        }
      }
    }
    first_tap += plan.phases[i].taps;
  }
}

// MARK: Rows

// A block of a phase's pixels, and where each lies in the image that is read and in the result.
typedef struct {
  const gemm_step *step;
  const phase *at;
  int64_t first, count;
} pixel_block;

typedef struct {
  int64_t sample, row, column;
} pixel;

CATENA_INLINE pixel pixel_of(const pixel_block *block, int64_t number) {
  int64_t line = number / block->at->columns;
  return (pixel){line / block->at->rows, line % block->at->rows, number % block->at->columns};
}

CATENA_INLINE void advance(const pixel_block *block, pixel *place) {
  if (++place->column < block->at->columns) return;
  place->column = 0;
  if (++place->row < block->at->rows) return;
  place->row = 0;
  place->sample += 1;
}

CATENA_INLINE void find_results(const pixel_block *block, int64_t *offsets) {
  const catena_implicit_gemm *problem = &block->step->problem;
  const tap_plan *plan = &block->step->plan;
  pixel place = pixel_of(block, block->first);
  for (int64_t i = 0; i < block->count; i++) {
    int64_t row = block->at->first_row + place.row * plan->row_step;
    int64_t column = block->at->first_column + place.column * plan->column_step;
    offsets[i] = ((place.sample * problem->destination_height + row) * problem->destination_width + column)
      * problem->destination_channels;
    advance(block, &place);
  }
}

CATENA_INLINE void copy_floats(float *to, const float *from, int64_t count) {
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) store(to + i, load(from + i));
  copy_part(to + i, from + i, count - i);
}

CATENA_INLINE void fill_zeros(float *to, int64_t count) {
  for (int64_t i = 0; i < count; i++) to[i] = 0;
}

// One pixel of a line: what of it lies outside the image is zero.
CATENA_INLINE void gather_edge(
  const gemm_step *step, const float *line, int64_t column, int64_t begin, int64_t end, float *to
) {
  int64_t channels = step->problem.source_channels;
  int64_t low = catena_minimum(catena_maximum(-column * channels, begin), end);
  int64_t high = catena_maximum(catena_minimum((step->problem.source_width - column) * channels, end), low);
  fill_zeros(to, low - begin);
  copy_floats(to + (low - begin), line + column * channels + low, high - low);
  fill_zeros(to + (high - begin), end - high);
}

// The part from `begin` to `end` of a run's taps x channels, for `count` pixels of one line from `place` on.
CATENA_INLINE void gather_run(
  const gemm_step *step, pixel place, int64_t count, tap_run run, int64_t begin, int64_t end, float *to,
  int64_t row_stride
) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t row = place.row * step->plan.source_row_step + run.row;
  if (row < 0 || row >= problem->source_height) {
    for (int64_t i = 0; i < count; i++) fill_zeros(to + i * row_stride, end - begin);
    return;
  }
  int64_t channels = problem->source_channels, column_step = step->plan.source_column_step;
  int64_t column = place.column * column_step + run.column;
  const float *source = step->at.source;
  const float *line = source + (place.sample * problem->source_height + row) * problem->source_width * channels;
  int64_t first_inside = column >= 0 ? 0 : catena_minimum((-column + column_step - 1) / column_step, count);
  int64_t room = problem->source_width - run.taps - column;
  int64_t end_inside = room < 0 ? first_inside : catena_minimum(room / column_step + 1, count);
  int64_t i = 0;
  for (; i < first_inside; i++) {
    gather_edge(step, line, column + i * column_step, begin, end, to + i * row_stride);
  }
  for (; i < end_inside; i++) {
    copy_floats(to + i * row_stride, line + (column + i * column_step) * channels + begin, end - begin);
  }
  for (; i < count; i++) {
    gather_edge(step, line, column + i * column_step, begin, end, to + i * row_stride);
  }
}

// A chunk of the depth, for every pixel of a block.
CATENA_INLINE void gather(const pixel_block *block, int64_t begin, int64_t end, float *rows) {
  const gemm_step *step = block->step;
  int64_t channels = step->problem.source_channels;
  for (int64_t done = 0; done < block->count;) {
    pixel place = pixel_of(block, block->first + done);
    int64_t count = catena_minimum(block->at->columns - place.column, block->count - done);
    int64_t run_begin = 0;
    for (int32_t number = 0; number < block->at->run_count && run_begin < end; number++) {
      tap_run run = step->plan.runs[block->at->first_run + number];
      int64_t run_end = run_begin + run.taps * channels;
      int64_t low = catena_maximum(begin, run_begin), high = catena_minimum(end, run_end);
      if (low < high) {
        gather_run(
          step, place, count, run, low - run_begin, high - run_begin, rows + done * (end - begin) + (low - begin),
          end - begin);
      }
      run_begin = run_end;
    }
    done += count;
  }
}

// Whether the rows are the image's own pixels, one after the other.
CATENA_INLINE bool reads_image(const gemm_step *step) {
  const catena_implicit_gemm *problem = &step->problem;
  tap_run run = step->plan.runs[0];
  return step->plan.phase_count == 1 && step->plan.phases[0].taps == 1 && run.row == 0 && run.column == 0
    && step->plan.source_row_step == 1 && step->plan.source_column_step == 1
    && problem->source_height == problem->destination_height && problem->source_width == problem->destination_width;
}

// MARK: Products

// What happens to the products of a chunk by a panel.
typedef struct {
  const gemm_step *step;
  bool is_first, is_last;
  // Sums of the chunks before, `width` for each row.
  float *partial;
  int64_t width, column;
  // Columns of the last vector that are not padding.
  int64_t last_lanes;
  const int64_t *offsets;
  // Read for the last chunk.
  panel_channels channels;
} chunk_results;

#define BEGIN_SUMS(VECTORS, ROWS) \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    const float *before = context->partial + (first + (i < here ? i : 0)) * context->width; \
    UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
      sums[i][j] = context->is_first ? (vector){0} : load(before + j * LANES); \
    } \
  }

#define END_SUMS(VECTORS, ROWS) \
  const gemm_step *step = context->step; \
  if (!context->is_last) { \
    UNROLL for (int32_t i = 0; i < ROWS; i++) { \
      if (i >= here) break; \
      UNROLL for (int32_t j = 0; j < VECTORS; j++) { \
        store(context->partial + (first + i) * context->width + j * LANES, sums[i][j]); \
      } \
    } \
    continue; \
  } \
  int64_t places[ROWS]; \
  UNROLL for (int32_t i = 0; i < ROWS; i++) { \
    places[i] = context->offsets[first + (i < here ? i : 0)] + context->column; \
  } \
  const panel_channels *channels = &context->channels; \
  uint32_t existing = (1u << here) - 1; \
  int64_t last_place = places[here - 1], last_lanes = context->last_lanes; \
  STORE_RESULTS( \
    VECTORS, ROWS, &step->at, result_elements(&step->problem), step->problem.destination_channels, false, false)

PANEL_PRODUCTS(product, const chunk_results *, BEGIN_SUMS, END_SUMS)

// MARK: Step

// Memory of one thread: gathered rows, sums of the chunks before, and where the results lie.
typedef struct {
  float *rows, *partial;
  int64_t *offsets;
} thread_memory;

static thread_memory memory_of(const gemm_step *step, int64_t thread) {
  char *begin = step->scratch + (size_t)thread * step->bytes_per_thread;
  int64_t *offsets = (int64_t *)begin;
  float *partial = (float *)(offsets + step->block_rows);
  return (thread_memory){partial + step->block_rows * step->columns, partial, offsets};
}

CATENA_VECTORISED
static void run_block(
  const gemm_step *step, const phase *at, const float *weights, int64_t number, int64_t first_column,
  int64_t end_column, thread_memory memory
) {
  const catena_implicit_gemm *problem = &step->problem;
  int64_t pixels = problem->batch * at->rows * at->columns, depth = at->taps * problem->source_channels;
  int64_t begin = number * step->block_rows;
  pixel_block block = {step, at, begin, catena_minimum(pixels - begin, step->block_rows)};
  bool is_image = reads_image(step);
  find_results(&block, memory.offsets);
  // A phase without taps still has a bias.
  int64_t chunks = catena_maximum(chunk_count(depth), 1);
  for (int64_t chunk = 0; chunk < chunks; chunk++) {
    int64_t low = depth == 0 ? 0 : chunk_begin(depth, chunk), high = depth == 0 ? 0 : chunk_begin(depth, chunk + 1);
    if (!is_image) gather(&block, low, high, memory.rows);
    const float *left = is_image ? (const float *)step->at.source + begin * depth + low : memory.rows;
    for (int64_t column = first_column; column < end_column; column += MAX_PANEL * LANES) {
      int64_t width = panel_width(step->columns - column);
      chunk_results results = {
        .step = step, .is_first = chunk == 0, .is_last = chunk == chunks - 1,
        .partial = memory.partial + column * step->block_rows, .width = width, .column = column,
        .last_lanes = catena_minimum(problem->destination_channels - column - (width - LANES), LANES),
        .offsets = memory.offsets,
      };
      if (results.is_last) {
        read_channels(&step->at, column, (int32_t)(width / LANES), results.last_lanes, &results.channels);
      }
      product(
        &results, width, left, is_image ? depth : high - low, high - low, weights + column * depth + low * width,
        block.count);
    }
  }
}

static void run_unit(const gemm_step *step, int64_t unit, thread_memory memory) {
  int64_t block = unit / step->column_groups, group = unit % step->column_groups;
  const float *weights = step->at.weights;
  const phase *at = step->plan.phases;
  for (int32_t i = 0; block >= step->blocks[i]; i++, at++) {
    block -= step->blocks[i];
    weights += at->taps * step->problem.source_channels * step->columns;
  }
  int64_t first = first_panel(step, group, step->column_groups), end = first_panel(step, group + 1, step->column_groups);
  run_block(step, at, weights, block, first, end, memory);
}

static void run_share(void *arguments) {
  const gemm_step *step = arguments;
  thread_memory memory = memory_of(step, catena_thread());
  catena_range share = catena_share(step->all_blocks * step->column_groups);
  for (int64_t unit = share.begin; unit < share.end; unit++) run_unit(step, unit, memory);
}

static catena_status run_gemm(const void *arguments) {
  const gemm_step *step = arguments;
  const catena_implicit_gemm *problem = &step->problem;
  int64_t results = problem->batch * problem->destination_height * problem->destination_width * step->columns;
  catena_parallel(run_share, arguments, results * deepest(&step->plan, problem->source_channels) / LANES);
  return catena_success;
}

void catena_add_implicit_gemm(
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  gemm_step *step = catena_add_step(program, run_gemm, sizeof(gemm_step), NULL);
  *step = plan_of(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
}
