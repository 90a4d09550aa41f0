// Reductions along axes.
#include "functions.h"

// MARK: Reduce

enum { KEPT_BLOCK = 128 };

typedef struct {
  catena_reduction kind;
  catena_type type;
  int32_t kept_rank, reduced_rank;
  int64_t kept[CATENA_MAX_RANK], reduced[CATENA_MAX_RANK];
  int64_t kept_strides[1][CATENA_MAX_RANK], reduced_strides[1][CATENA_MAX_RANK];
  const void *source;
  void *destination;
  int64_t blocks_per_row, units, elements, count;
} reduce_step;

#define COMBINE_FLOAT(EXPRESSION) \
  for (int64_t i = 0; i < length; i++) { \
    double x = totals[i], y = values[i * stride]; \
    totals[i] = (EXPRESSION); \
  } \
  break

CATENA_VECTORISED
static void combine_float(
  catena_reduction kind, const float *values, int64_t stride, int64_t length, double *totals
) {
  switch (kind) {
  case CATENA_REDUCE_SUM: case CATENA_REDUCE_MEAN: COMBINE_FLOAT(x + y);
  case CATENA_REDUCE_MAXIMUM: COMBINE_FLOAT(y > x || y != y ? y : x);
  case CATENA_REDUCE_MINIMUM: COMBINE_FLOAT(y < x || y != y ? y : x);
  case CATENA_REDUCE_PRODUCT: COMBINE_FLOAT(x * y);
  }
}

static int64_t combine_integer(catena_reduction kind, int64_t x, int64_t y) {
  switch (kind) {
  case CATENA_REDUCE_MAXIMUM: return y > x ? y : x;
  case CATENA_REDUCE_MINIMUM: return y < x ? y : x;
  case CATENA_REDUCE_PRODUCT: return (int64_t)((uint64_t)x * (uint64_t)y);
  default: return (int64_t)((uint64_t)x + (uint64_t)y);
  }
}

static double neutral_float(catena_reduction kind) {
  switch (kind) {
  case CATENA_REDUCE_MAXIMUM: return -INFINITY;
  case CATENA_REDUCE_MINIMUM: return INFINITY;
  case CATENA_REDUCE_PRODUCT: return 1;
  default: return 0;
  }
}

static int64_t neutral_integer(catena_reduction kind) {
  switch (kind) {
  case CATENA_REDUCE_MAXIMUM: return INT64_MIN;
  case CATENA_REDUCE_MINIMUM: return INT64_MAX;
  case CATENA_REDUCE_PRODUCT: return 1;
  default: return 0;
  }
}

static int64_t offset_of(int64_t index, int32_t rank, const int64_t *extents, const int64_t *strides) {
  int64_t offset = 0;
  for (int32_t axis = rank - 1; axis >= 0; axis--) {
    offset += index % extents[axis] * strides[axis];
    index /= extents[axis];
  }
  return offset;
}

// One block of neighbouring results.
static void reduce_block_float(const reduce_step *step, int64_t base, int64_t length, float *destination) {
  double totals[KEPT_BLOCK];
  for (int64_t i = 0; i < length; i++) totals[i] = neutral_float(step->kind);
  int64_t stride = step->kept_strides[0][step->kept_rank - 1];
  const float *source = (const float *)step->source + base;
  int32_t inner = step->reduced_rank - 1;
  int64_t inner_stride = step->reduced_strides[0][inner], inner_extent = step->reduced[inner];
  for (int64_t outer = 0; outer < step->count; outer += inner_extent) {
    const float *row = source + offset_of(outer, step->reduced_rank, step->reduced, step->reduced_strides[0]);
    for (int64_t i = 0; i < inner_extent; i++) combine_float(step->kind, row + i * inner_stride, stride, length, totals);
  }
  double scale = step->kind == CATENA_REDUCE_MEAN ? 1.0 / (double)step->count : 1.0;
  for (int64_t i = 0; i < length; i++) destination[i] = (float)(totals[i] * scale);
}

static void reduce_block_integer(const reduce_step *step, int64_t base, int64_t length, int64_t *destination) {
  int64_t stride = step->kept_strides[0][step->kept_rank - 1];
  for (int64_t i = 0; i < length; i++) {
    int64_t total = neutral_integer(step->kind);
    for (int64_t k = 0; k < step->count; k++) {
      int64_t offset = offset_of(k, step->reduced_rank, step->reduced, step->reduced_strides[0]);
      total = combine_integer(step->kind, total, ((const int64_t *)step->source)[base + i * stride + offset]);
    }
    destination[i] = step->kind == CATENA_REDUCE_MEAN ? total / step->count : total;
  }
}

static void reduce_share(void *arguments) {
  const reduce_step *step = arguments;
  int64_t inner = step->kept[step->kept_rank - 1];
  catena_range share = catena_share(step->units);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t first = unit % step->blocks_per_row * KEPT_BLOCK;
    int64_t result = unit / step->blocks_per_row * inner + first;
    int64_t base = offset_of(result, step->kept_rank, step->kept, step->kept_strides[0]);
    int64_t length = catena_minimum(KEPT_BLOCK, inner - first);
    if (step->type == CATENA_I64) {
      reduce_block_integer(step, base, length, (int64_t *)step->destination + result);
    } else {
      reduce_block_float(step, base, length, (float *)step->destination + result);
    }
  }
}

static catena_status run_reduce(const void *arguments) {
  catena_parallel(reduce_share, arguments, ((const reduce_step *)arguments)->elements);
  return catena_success;
}

static int64_t product(int32_t rank, const int64_t *extents) {
  int64_t result = 1;
  for (int32_t axis = 0; axis < rank; axis++) result *= extents[axis];
  return result;
}

void catena_add_reduce(
  catena_program *program, catena_reduction kind, int32_t rank, int32_t reduced_rank, const int64_t *extents,
  const void *source, const int64_t *strides, void *destination, catena_type type
) {
  reduce_step *step = catena_add_step(program, run_reduce, sizeof(reduce_step), NULL);
  int32_t kept_rank = rank - reduced_rank;
  *step = (reduce_step){.kind = kind, .type = type, .source = source, .destination = destination};
  memcpy(step->kept, extents, (size_t)kept_rank * sizeof(int64_t));
  memcpy(step->kept_strides[0], strides, (size_t)kept_rank * sizeof(int64_t));
  memcpy(step->reduced, extents + kept_rank, (size_t)reduced_rank * sizeof(int64_t));
  memcpy(step->reduced_strides[0], strides + kept_rank, (size_t)reduced_rank * sizeof(int64_t));
  step->kept_rank = catena_collapse(kept_rank, step->kept, 1, step->kept_strides);
  step->reduced_rank = catena_collapse(reduced_rank, step->reduced, 1, step->reduced_strides);
  step->count = product(step->reduced_rank, step->reduced);
  int64_t inner = step->kept[step->kept_rank - 1];
  step->blocks_per_row = (inner + KEPT_BLOCK - 1) / KEPT_BLOCK;
  step->units = product(step->kept_rank - 1, step->kept) * step->blocks_per_row;
  step->elements = product(step->kept_rank, step->kept) * step->count;
}

// MARK: Index of the extreme element

typedef struct {
  const void *source;
  int64_t *destination;
  int64_t outer, extent, inner;
  catena_type type;
  bool finds_maximum, selects_last;
} arg_reduce_step;

// The first (or last) extreme element; a NaN is more extreme than any number.
#define FIND_EXTREME(NAME, TYPE) \
  static int64_t NAME(const arg_reduce_step *step, const TYPE *values) { \
    int64_t best = 0; \
    for (int64_t i = 1; i < step->extent; i++) { \
      TYPE x = values[i * step->inner], y = values[best * step->inner]; \
      bool is_better = step->finds_maximum ? x > y : x < y; \
      bool is_equal = x == y || (x != x && y != y); \
      if (x != x && y == y) is_better = true; \
      if (is_better || (step->selects_last && is_equal)) best = i; \
    } \
    return best; \
  }
FIND_EXTREME(find_extreme_float, float)
FIND_EXTREME(find_extreme_integer, int64_t)

static void arg_reduce_share(void *arguments) {
  const arg_reduce_step *step = arguments;
  catena_range share = catena_share(step->outer * step->inner);
  for (int64_t i = share.begin; i < share.end; i++) {
    int64_t offset = i / step->inner * step->extent * step->inner + i % step->inner;
    step->destination[i] = step->type == CATENA_I64
      ? find_extreme_integer(step, (const int64_t *)step->source + offset)
      : find_extreme_float(step, (const float *)step->source + offset);
  }
}

static catena_status run_arg_reduce(const void *arguments) {
  const arg_reduce_step *step = arguments;
  catena_parallel(arg_reduce_share, step, step->outer * step->extent * step->inner);
  return catena_success;
}

void catena_add_arg_reduce(
  catena_program *program, const void *source, int64_t *destination, int64_t outer, int64_t extent, int64_t inner,
  catena_type type, bool finds_maximum, bool selects_last
) {
  arg_reduce_step *step = catena_add_step(program, run_arg_reduce, sizeof(arg_reduce_step), NULL);
  *step = (arg_reduce_step){source, destination, outer, extent, inner, type, finds_maximum, selects_last};
}

// MARK: Softmax

typedef struct {
  const float *source;
  float *destination;
  int64_t rows, columns;
  bool logarithm;
} softmax_step;

CATENA_VECTORISED
static void softmax_row(const float *source, float *destination, int64_t columns, bool logarithm) {
  enum { WIDTH = 16 };
  float largest = -INFINITY;
  for (int64_t i = 0; i < columns; i++) largest = source[i] > largest ? source[i] : largest;
  double total = 0;
  for (int64_t begin = 0; begin < columns; begin += WIDTH) {
    float values[WIDTH] = {0};
    int64_t count = catena_minimum(WIDTH, columns - begin);
    for (int64_t i = 0; i < count; i++) values[i] = catena_exp(source[begin + i] - largest);
    float sum = 0;
    for (int64_t i = 0; i < WIDTH; i++) sum += values[i];
    total += sum;
  }
  float shift = logarithm ? largest + (float)log(total) : largest;
  float factor = (float)(1 / total);
#pragma clang loop vectorize(assume_safety)
  for (int64_t i = 0; i < columns; i++) {
    float x = source[i] - shift;
    destination[i] = logarithm ? x : catena_exp(x) * factor;
  }
}

static void softmax_share(void *arguments) {
  const softmax_step *step = arguments;
  catena_range share = catena_share(step->rows);
  for (int64_t row = share.begin; row < share.end; row++) {
    int64_t offset = row * step->columns;
    softmax_row(step->source + offset, step->destination + offset, step->columns, step->logarithm);
  }
}

static catena_status run_softmax(const void *arguments) {
  const softmax_step *step = arguments;
  catena_parallel(softmax_share, step, step->rows * step->columns);
  return catena_success;
}

void catena_add_softmax(
  catena_program *program, const float *source, float *destination, int64_t rows, int64_t columns, bool logarithm
) {
  softmax_step *step = catena_add_step(program, run_softmax, sizeof(softmax_step), NULL);
  *step = (softmax_step){source, destination, rows, columns, logarithm};
}

// MARK: Products of integers

typedef struct {
  const int64_t *source, *weights;
  int64_t *destination, *source_offsets, *weight_offsets;
  int64_t batch, rows, inner, columns;
} integer_matmul_step;

static void integer_matmul_share(void *arguments) {
  const integer_matmul_step *step = arguments;
  catena_range share = catena_share(step->batch * step->rows);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t item = unit / step->rows;
    const int64_t *left = step->source + step->source_offsets[item] + unit % step->rows * step->inner;
    const int64_t *right = step->weights + step->weight_offsets[item];
    for (int64_t column = 0; column < step->columns; column++) {
      uint64_t sum = 0;
      for (int64_t k = 0; k < step->inner; k++) sum += (uint64_t)left[k] * (uint64_t)right[k * step->columns + column];
      step->destination[unit * step->columns + column] = (int64_t)sum;
    }
  }
}

static catena_status run_integer_matmul(const void *arguments) {
  const integer_matmul_step *step = arguments;
  catena_parallel(integer_matmul_share, step, step->batch * step->rows * step->inner * step->columns);
  return catena_success;
}

static void release_integer_matmul(void *arguments) {
  integer_matmul_step *step = arguments;
  free(step->source_offsets);
  free(step->weight_offsets);
}

static int64_t *copy_offsets(const int64_t *offsets, int64_t count) {
  int64_t *copy = malloc((size_t)(count + 1) * sizeof(int64_t));
  if (copy == NULL) abort();
  return memcpy(copy, offsets, (size_t)count * sizeof(int64_t));
}

void catena_add_integer_matmul(
  catena_program *program, const int64_t *source, const int64_t *weights, int64_t *destination, int64_t batch,
  const int64_t *source_offsets, const int64_t *weight_offsets, int64_t rows, int64_t inner, int64_t columns
) {
  integer_matmul_step *step =
    catena_add_step(program, run_integer_matmul, sizeof(integer_matmul_step), release_integer_matmul);
  *step = (integer_matmul_step){
    source, weights, destination, copy_offsets(source_offsets, batch), copy_offsets(weight_offsets, batch), batch, rows,
    inner, columns};
}
