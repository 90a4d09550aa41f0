// Kernels that only move elements, and sums of moved ones.
#include "program.h"

// MARK: Strided copy

typedef struct {
  int32_t rank, element_bytes;
  int64_t extents[CATENA_MAX_RANK];
  // Of the source, of the destination.
  int64_t strides[2][CATENA_MAX_RANK];
  const char *source;
  char *destination;
  int64_t outer, elements;
} copy_step;

enum { SOURCE, DESTINATION, TILE = 16, ROWS_PER_UNIT = 64 };

static void swap_axes(copy_step *step, int32_t left, int32_t right) {
  int64_t extent = step->extents[left];
  step->extents[left] = step->extents[right];
  step->extents[right] = extent;
  for (int32_t i = 0; i < 2; i++) {
    int64_t stride = step->strides[i][left];
    step->strides[i][left] = step->strides[i][right];
    step->strides[i][right] = stride;
  }
}

static int32_t smallest_stride(const copy_step *step, int32_t operand, int32_t rank) {
  int32_t best = rank - 1;
  for (int32_t axis = rank - 1; axis >= 0; axis--) {
    if (llabs(step->strides[operand][axis]) < llabs(step->strides[operand][best])) best = axis;
  }
  return best;
}

// Walks the destination in order of memory, with the source's fastest axis next to its own.
static void prepare_copy(copy_step *step) {
  for (int32_t rank = step->rank; rank > 1; rank--) swap_axes(step, smallest_stride(step, DESTINATION, rank), rank - 1);
  step->rank = catena_collapse(step->rank, step->extents, 2, step->strides);
  if (step->rank > 2) {
    int32_t fastest = smallest_stride(step, SOURCE, step->rank);
    if (fastest < step->rank - 2) swap_axes(step, fastest, step->rank - 2);
  }
  step->outer = 1;
  step->elements = 1;
  for (int32_t axis = 0; axis < step->rank; axis++) {
    step->elements *= step->extents[axis];
    if (axis < step->rank - 2) step->outer *= step->extents[axis];
  }
}

#define COPY_PLANE(NAME, TYPE) \
  static void NAME( \
    const char *source, int64_t source_rows, int64_t source_columns, char *destination, int64_t destination_rows, \
    int64_t destination_columns, int64_t rows, int64_t columns \
  ) { \
    const TYPE *from = (const TYPE *)source; \
    TYPE *to = (TYPE *)destination; \
    for (int64_t top = 0; top < rows; top += TILE) { \
      int64_t bottom = catena_minimum(top + TILE, rows); \
      for (int64_t left = 0; left < columns; left += TILE) { \
        int64_t right = catena_minimum(left + TILE, columns); \
        for (int64_t row = top; row < bottom; row++) { \
          for (int64_t column = left; column < right; column++) { \
            to[row * destination_rows + column * destination_columns] = \
              from[row * source_rows + column * source_columns]; \
          } \
        } \
      } \
    } \
  }

COPY_PLANE(copy_plane_1, uint8_t)
COPY_PLANE(copy_plane_2, uint16_t)
COPY_PLANE(copy_plane_4, uint32_t)
COPY_PLANE(copy_plane_8, uint64_t)

static void copy_rows(const copy_step *step, const char *source, char *destination, int64_t rows) {
  int32_t inner = step->rank - 1;
  int64_t bytes = step->element_bytes, columns = step->extents[inner];
  int64_t source_rows = step->rank > 1 ? step->strides[SOURCE][inner - 1] : 0;
  int64_t destination_rows = step->rank > 1 ? step->strides[DESTINATION][inner - 1] : 0;
  if (step->strides[SOURCE][inner] == 1 && step->strides[DESTINATION][inner] == 1) {
    for (int64_t row = 0; row < rows; row++) {
      memcpy(destination + row * destination_rows * bytes, source + row * source_rows * bytes, (size_t)(columns * bytes));
    }
    return;
  }
  void (*copy)(const char *, int64_t, int64_t, char *, int64_t, int64_t, int64_t, int64_t) =
    bytes == 1 ? copy_plane_1 : bytes == 2 ? copy_plane_2 : bytes == 4 ? copy_plane_4 : copy_plane_8;
  copy(source, source_rows, step->strides[SOURCE][inner], destination, destination_rows,
    step->strides[DESTINATION][inner], rows, columns);
}

static void copy_share(void *arguments) {
  const copy_step *step = arguments;
  if (step->rank == 1 && step->strides[SOURCE][0] == 1 && step->strides[DESTINATION][0] == 1) {
    catena_range share = catena_share(step->elements);
    int64_t first = share.begin * step->element_bytes;
    memcpy(step->destination + first, step->source + first, (size_t)((share.end - share.begin) * step->element_bytes));
    return;
  }
  int32_t row_axis = step->rank - 2;
  int64_t rows = row_axis >= 0 ? step->extents[row_axis] : 1;
  int64_t chunks = (rows + ROWS_PER_UNIT - 1) / ROWS_PER_UNIT;
  catena_range share = catena_share(step->outer * chunks);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t first = unit % chunks * ROWS_PER_UNIT, rest = unit / chunks;
    int64_t offsets[2] = {0, 0};
    for (int32_t axis = row_axis - 1; axis >= 0; axis--) {
      int64_t index = rest % step->extents[axis];
      rest /= step->extents[axis];
      for (int32_t i = 0; i < 2; i++) offsets[i] += index * step->strides[i][axis];
    }
    for (int32_t i = 0; row_axis >= 0 && i < 2; i++) offsets[i] += first * step->strides[i][row_axis];
    copy_rows(step, step->source + offsets[SOURCE] * step->element_bytes,
      step->destination + offsets[DESTINATION] * step->element_bytes, catena_minimum(ROWS_PER_UNIT, rows - first));
  }
}

static catena_status run_copy(const void *arguments) {
  catena_parallel(copy_share, arguments, ((const copy_step *)arguments)->elements);
  return catena_success;
}

static copy_step describe_copy(
  int32_t rank, const int64_t *extents, const void *source, const int64_t *source_strides, void *destination,
  const int64_t *destination_strides, int32_t element_bytes
) {
  copy_step step = {.rank = rank, .element_bytes = element_bytes, .source = source, .destination = destination};
  memcpy(step.extents, extents, (size_t)rank * sizeof(int64_t));
  memcpy(step.strides[SOURCE], source_strides, (size_t)rank * sizeof(int64_t));
  memcpy(step.strides[DESTINATION], destination_strides, (size_t)rank * sizeof(int64_t));
  prepare_copy(&step);
  return step;
}

void catena_add_copy(
  catena_program *program, int32_t rank, const int64_t *extents, const void *source, const int64_t *source_strides,
  void *destination, const int64_t *destination_strides, int32_t element_bytes
) {
  copy_step *step = catena_add_step(program, run_copy, sizeof(copy_step), NULL);
  *step = describe_copy(rank, extents, source, source_strides, destination, destination_strides, element_bytes);
}

void catena_copy(
  int32_t rank, const int64_t *extents, const void *source, const int64_t *source_strides, void *destination,
  const int64_t *destination_strides, int32_t element_bytes, bool by_team
) {
  copy_step step = describe_copy(rank, extents, source, source_strides, destination, destination_strides, element_bytes);
  if (by_team) {
    run_copy(&step);
  } else {
    copy_share(&step);
  }
}

// MARK: Fill

typedef struct {
  char *destination;
  int64_t count;
  int32_t element_bytes;
  uint64_t value;
} fill_step;

static void fill_share(void *arguments) {
  const fill_step *step = arguments;
  catena_range share = catena_share(step->count);
  int64_t bytes = step->element_bytes;
  if (step->value == 0) {
    memset(step->destination + share.begin * bytes, 0, (size_t)((share.end - share.begin) * bytes));
    return;
  }
  for (int64_t i = share.begin; i < share.end; i++) memcpy(step->destination + i * bytes, &step->value, (size_t)bytes);
}

static catena_status run_fill(const void *arguments) {
  catena_parallel(fill_share, arguments, ((const fill_step *)arguments)->count);
  return catena_success;
}

void catena_add_fill(
  catena_program *program, void *destination, int64_t count, const void *value, int32_t element_bytes
) {
  fill_step *step = catena_add_step(program, run_fill, sizeof(fill_step), NULL);
  *step = (fill_step){.destination = destination, .count = count, .element_bytes = element_bytes};
  memcpy(&step->value, value, (size_t)element_bytes);
}

// MARK: Gather and scatter

typedef struct {
  const char *data;
  const void *indices;
  catena_type index_type;
  char *destination;
  int64_t outer, extent, count, inner;
  int32_t element_bytes;
} gather_step;

// The index at `position`, counted from the front; -1 when it is out of range.
static int64_t index_at(const gather_step *step, int64_t position) {
  int64_t index = step->index_type == CATENA_I64 ? ((const int64_t *)step->indices)[position]
                                                 : ((const int32_t *)step->indices)[position];
  if (index < 0) index += step->extent;
  return index >= 0 && index < step->extent ? index : -1;
}

static bool indices_are_in_range(const gather_step *step) {
  for (int64_t i = 0; i < step->count; i++) {
    if (index_at(step, i) < 0) return false;
  }
  return true;
}

static const catena_status index_out_of_range = {2, "gather (an index is out of range)"};

static void gather_share(void *arguments) {
  const gather_step *step = arguments;
  int64_t bytes = step->inner * step->element_bytes;
  catena_range share = catena_share(step->outer * step->count);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t source = unit / step->count * step->extent + index_at(step, unit % step->count);
    memcpy(step->destination + unit * bytes, step->data + source * bytes, (size_t)bytes);
  }
}

static catena_status run_gather(const void *arguments) {
  const gather_step *step = arguments;
  if (!indices_are_in_range(step)) return index_out_of_range;
  catena_parallel(gather_share, step, step->outer * step->count * step->inner);
  return catena_success;
}

void catena_add_gather(
  catena_program *program, const void *data, const void *indices, catena_type index_type, void *destination,
  int64_t outer, int64_t extent, int64_t count, int64_t inner, int32_t element_bytes
) {
  gather_step *step = catena_add_step(program, run_gather, sizeof(gather_step), NULL);
  *step = (gather_step){data, indices, index_type, destination, outer, extent, count, inner, element_bytes};
}

// Every thread owns a range of the inner axis, so that sums have one order.
static void scatter_share(void *arguments) {
  const gather_step *step = arguments;
  catena_range share = catena_share(step->inner);
  for (int64_t outer = 0; outer < step->outer; outer++) {
    float *base = (float *)step->destination + outer * step->extent * step->inner;
    for (int64_t row = 0; row < step->extent; row++) {
      for (int64_t i = share.begin; i < share.end; i++) base[row * step->inner + i] = 0;
    }
    for (int64_t position = 0; position < step->count; position++) {
      const float *from = (const float *)step->data + (outer * step->count + position) * step->inner;
      float *to = base + index_at(step, position) * step->inner;
      for (int64_t i = share.begin; i < share.end; i++) to[i] += from[i];
    }
  }
}

static catena_status run_scatter(const void *arguments) {
  const gather_step *step = arguments;
  if (!indices_are_in_range(step)) return index_out_of_range;
  catena_parallel(scatter_share, step, step->outer * catena_maximum(step->count, step->extent) * step->inner);
  return catena_success;
}

void catena_add_scatter_add(
  catena_program *program, const float *gradient, const void *indices, catena_type index_type, float *destination,
  int64_t outer, int64_t extent, int64_t count, int64_t inner
) {
  gather_step *step = catena_add_step(program, run_scatter, sizeof(gather_step), NULL);
  *step = (gather_step){
    (const char *)gradient, indices, index_type, (char *)destination, outer, extent, count, inner, sizeof(float)};
}

// MARK: A sparse matrix along one axis

typedef struct {
  const float *source;
  float *destination;
  int64_t outer, source_extent, destination_extent, inner;
  int32_t *rows, *columns;
  float *weights;
} axis_map_step;

CATENA_VECTORISED
static void map_row(const axis_map_step *step, const float *source, int64_t row, float *destination) {
  int64_t inner = step->inner;
  for (int64_t i = 0; i < inner; i++) destination[i] = 0;
  for (int32_t k = step->rows[row]; k < step->rows[row + 1]; k++) {
    const float *from = source + step->columns[k] * inner;
    float weight = step->weights[k];
#pragma clang loop vectorize(assume_safety)
    for (int64_t i = 0; i < inner; i++) destination[i] += weight * from[i];
  }
}

static void map_share(void *arguments) {
  const axis_map_step *step = arguments;
  catena_range share = catena_share(step->outer * step->destination_extent);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t outer = unit / step->destination_extent;
    map_row(step, step->source + outer * step->source_extent * step->inner, unit % step->destination_extent,
      step->destination + unit * step->inner);
  }
}

static catena_status run_axis_map(const void *arguments) {
  const axis_map_step *step = arguments;
  catena_parallel(map_share, step, step->outer * step->destination_extent * step->inner);
  return catena_success;
}

static void release_axis_map(void *arguments) {
  axis_map_step *step = arguments;
  free(step->rows);
  free(step->columns);
  free(step->weights);
}

static void *duplicate(const void *source, size_t bytes) {
  void *copy = malloc(bytes == 0 ? 1 : bytes);
  if (copy == NULL) abort();
  return memcpy(copy, source, bytes);
}

void catena_add_axis_map(
  catena_program *program, const float *source, float *destination, int64_t outer, int64_t source_extent,
  int64_t destination_extent, int64_t inner, const int32_t *rows, const int32_t *columns, const float *weights
) {
  axis_map_step *step = catena_add_step(program, run_axis_map, sizeof(axis_map_step), release_axis_map);
  size_t count = (size_t)rows[destination_extent];
  *step = (axis_map_step){
    .source = source, .destination = destination, .outer = outer, .source_extent = source_extent,
    .destination_extent = destination_extent, .inner = inner,
    .rows = duplicate(rows, (size_t)(destination_extent + 1) * sizeof(int32_t)),
    .columns = duplicate(columns, count * sizeof(int32_t)), .weights = duplicate(weights, count * sizeof(float))};
}
