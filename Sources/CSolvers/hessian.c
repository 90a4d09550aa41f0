// Hessians of convolutions: what of them is no matrix product.
#include "parallel.h"

// MARK: Packing

typedef struct {
  const float *source;
  int64_t images, height, width, channels, first, step, columns;
  void *destination;
  bool is_double;
} packing;

CATENA_VECTORISED
static void widen(const float *source, double *destination, int64_t count) {
  for (int64_t i = 0; i < count; i++) destination[i] = source[i];
}

static void pack_rows(void *data) {
  const packing *p = data;
  catena_range rows = catena_share(p->height * p->images);
  int64_t floats = p->columns * p->channels;
  for (int64_t row = rows.begin; row < rows.end; row++) {
    int64_t y = row / p->images, n = row % p->images;
    const float *line = p->source + ((n * p->height + y) * p->width + p->first) * p->channels;
    // Neighbouring columns are one piece.
    int64_t pieces = p->step == 1 ? 1 : p->columns;
    int64_t length = floats / pieces;
    for (int64_t piece = 0; piece < pieces; piece++) {
      const float *from = line + piece * p->step * p->channels;
      int64_t to = row * floats + piece * length;
      if (p->is_double) {
        widen(from, (double *)p->destination + to, length);
      } else {
        memcpy((float *)p->destination + to, from, (size_t)length * sizeof(float));
      }
    }
  }
}

void catena_pack_columns(
  const float *source, int64_t images, int64_t height, int64_t width, int64_t channels, int64_t first, int64_t step,
  int64_t columns, void *destination, bool is_double
) {
  packing p = {source, images, height, width, channels, first, step, columns, destination, is_double};
  catena_parallel(pack_rows, &p, images * height * columns * channels);
}

// MARK: Depthwise

typedef struct {
  const catena_depthwise *problem;
  const float *source;
  double *blocks;
} depthwise;

CATENA_VECTORISED
static void multiply_add(const float *left, const float *right, double *sums, int64_t count) {
  for (int64_t i = 0; i < count; i++) sums[i] += (double)left[i] * (double)right[i];
}

// The image positions that tap `tap` reads for outputs `begin ..< end` along an axis, all inside.
CATENA_INLINE catena_range outputs_inside(const catena_depthwise *p, int axis, int64_t tap) {
  int64_t shift = tap * p->dilations[axis] - p->pads[axis], stride = p->strides[axis];
  int64_t begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
  int64_t last = p->source[axis] - 1 - shift;
  int64_t end = last < 0 ? 0 : catena_minimum(p->destination[axis], last / stride + 1);
  return (catena_range){begin, catena_maximum(begin, end)};
}

CATENA_INLINE catena_range intersection(catena_range left, catena_range right) {
  return (catena_range){catena_maximum(left.begin, right.begin), catena_minimum(left.end, right.end)};
}

// One pair of taps after the other; the threads share the pairs.
static void add_pairs(void *data) {
  const depthwise *d = data;
  const catena_depthwise *p = d->problem;
  int64_t taps = p->kernel[0] * p->kernel[1];
  catena_range share = catena_share(taps * taps);
  for (int64_t pair = share.begin; pair < share.end; pair++) {
    int64_t t = pair / taps, u = pair % taps;
    if (t > u) continue;
    int64_t ty = t / p->kernel[1], tx = t % p->kernel[1], uy = u / p->kernel[1], ux = u % p->kernel[1];
    catena_range rows = intersection(outputs_inside(p, 0, ty), outputs_inside(p, 0, uy));
    catena_range columns = intersection(outputs_inside(p, 1, tx), outputs_inside(p, 1, ux));
    int64_t offset = ((uy - ty) * p->dilations[0] * p->source[1] + (ux - tx) * p->dilations[1]) * p->channels;
    for (int64_t n = 0; n < p->images; n++) {
      for (int64_t oy = rows.begin; oy < rows.end; oy++) {
        int64_t y = oy * p->strides[0] + ty * p->dilations[0] - p->pads[0];
        for (int64_t ox = columns.begin; ox < columns.end; ox++) {
          int64_t x = ox * p->strides[1] + tx * p->dilations[1] - p->pads[1];
          const float *left = d->source + ((n * p->source[0] + y) * p->source[1] + x) * p->channels;
          multiply_add(left, left + offset, d->blocks + pair * p->channels, p->channels);
        }
      }
    }
  }
}

void catena_depthwise_hessian(const catena_depthwise *problem, const float *source, double *blocks) {
  depthwise d = {problem, source, blocks};
  catena_parallel(add_pairs, &d, problem->images * problem->destination[0] * problem->destination[1] * problem->channels);
}

// MARK: Assembly

typedef struct {
  const void *cells;
  bool is_double;
  int64_t channels, taps;
  const int32_t *starts, *members;
  double scale;
  void *hessian;
} assembly;

#define ADD_MEMBERS(TYPE) \
  for (int64_t u = 0; u < taps; u++) { \
    TYPE *to = (TYPE *)a->hessian + (c * taps + t) * channels * taps + u; \
    for (int64_t d = 0; d < channels; d++) to[d * taps] = 0; \
    for (int32_t m = a->starts[t * taps + u]; m < a->starts[t * taps + u + 1]; m++) { \
      bool transposed = a->members[m] & 1; \
      TYPE sign = a->members[m] & 2 ? -1 : 1; \
      int64_t cell = a->members[m] >> 2; \
      const TYPE *from = (const TYPE *)a->cells + cell * channels * channels + (transposed ? c : c * channels); \
      int64_t stride = transposed ? channels : 1; \
      for (int64_t d = 0; d < channels; d++) to[d * taps] += sign * from[d * stride]; \
    } \
    for (int64_t d = 0; d < channels; d++) to[d * taps] *= (TYPE)a->scale; \
  }

static void assemble_rows(void *data) {
  const assembly *a = data;
  int64_t channels = a->channels, taps = a->taps;
  catena_range rows = catena_share(channels * taps);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    // Taps outermost, so that transposed cells are read by neighbouring channels one after the other.
    int64_t t = row / channels, c = row % channels;
    if (a->is_double) {
      ADD_MEMBERS(double)
    } else {
      ADD_MEMBERS(float)
    }
  }
}

void catena_assemble_hessian(
  const void *cells, bool is_double, int64_t channels, int64_t taps, const int32_t *starts, const int32_t *members,
  double scale, void *hessian
) {
  assembly a = {cells, is_double, channels, taps, starts, members, scale, hessian};
  catena_parallel(assemble_rows, &a, channels * channels * taps * taps);
}
