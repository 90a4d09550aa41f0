// Pooling on channels-last images of three spatial axes.
#include "functions.h"

typedef struct {
  catena_pool pool;
  const float *gradient, *source, *output;
  float *destination;
} pool_step;

enum { CHANNEL_BLOCK = 256 };

// The taps of one window on one axis: those inside the image, and how many lie in the image or its padding.
typedef struct {
  int64_t first, end, padded;
} taps;

static taps taps_of(const catena_pool *pool, int32_t axis, int64_t window) {
  int64_t start = window * pool->strides[axis] - pool->pads_begin[axis], dilation = pool->dilations[axis];
  taps result = {0, 0, 0};
  int64_t extent = pool->source[axis];
  result.first = start < 0 ? (-start + dilation - 1) / dilation : 0;
  result.end = start < extent ? catena_minimum(pool->kernel[axis], (extent - start + dilation - 1) / dilation) : 0;
  int64_t padded = extent + pool->pads_end[axis];
  result.padded = start < padded ? catena_minimum(pool->kernel[axis], (padded - start + dilation - 1) / dilation) : 0;
  return result;
}

typedef struct {
  taps axes[CATENA_MAX_SPATIAL];
  int64_t origin[CATENA_MAX_SPATIAL];
  float divisor;
} window;

static window window_at(const catena_pool *pool, int64_t index) {
  window result;
  int64_t inside = 1, padded = 1;
  for (int32_t axis = CATENA_MAX_SPATIAL - 1; axis >= 0; axis--) {
    int64_t position = index % pool->destination[axis];
    index /= pool->destination[axis];
    result.axes[axis] = taps_of(pool, axis, position);
    result.origin[axis] = position * pool->strides[axis] - pool->pads_begin[axis];
    inside *= catena_maximum(0, result.axes[axis].end - result.axes[axis].first);
    padded *= result.axes[axis].padded;
  }
  result.divisor = (float)(pool->kind == CATENA_POOL_AVERAGE_PADDED ? padded : inside);
  return result;
}

// Calls `visit` with the pixel of every tap inside the image, in row-major order.
#define FOR_TAPS(pool, at, pixel, BODY) \
  for (int64_t t0 = (at)->axes[0].first; t0 < (at)->axes[0].end; t0++) { \
    for (int64_t t1 = (at)->axes[1].first; t1 < (at)->axes[1].end; t1++) { \
      for (int64_t t2 = (at)->axes[2].first; t2 < (at)->axes[2].end; t2++) { \
        int64_t p0 = (at)->origin[0] + t0 * (pool)->dilations[0], p1 = (at)->origin[1] + t1 * (pool)->dilations[1]; \
        int64_t pixel = (p0 * (pool)->source[1] + p1) * (pool)->source[2] + (at)->origin[2] \
          + t2 * (pool)->dilations[2]; \
        BODY \
      } \
    } \
  }

#define CHANNELS _Pragma("clang loop vectorize(assume_safety)") for (int64_t c = 0; c < channels; c++)

static float power_of(float x, int32_t p) {
  x = fabsf(x);
  return p == 1 ? x : p == 2 ? x * x : powf(x, (float)p);
}

CATENA_VECTORISED
static void pool_window(const catena_pool *pool, const window *at, const float *image, float *result) {
  int64_t channels = pool->channels;
  float start = pool->kind == CATENA_POOL_MAXIMUM ? -INFINITY : 0.0f;
  CHANNELS result[c] = start;
  FOR_TAPS(pool, at, pixel, {
    const float *x = image + pixel * channels;
    if (pool->kind == CATENA_POOL_MAXIMUM) {
      CHANNELS result[c] = x[c] > result[c] || x[c] != x[c] ? x[c] : result[c];
    } else if (pool->kind == CATENA_POOL_NORM) {
      for (int64_t c = 0; c < channels; c++) result[c] += power_of(x[c], pool->p);
    } else {
      CHANNELS result[c] += x[c];
    }
  })
  if (pool->kind == CATENA_POOL_NORM) {
    for (int64_t c = 0; c < channels; c++) {
      result[c] = pool->p == 1 ? result[c] : pool->p == 2 ? sqrtf(result[c]) : powf(result[c], 1.0f / (float)pool->p);
    }
  } else if (pool->kind != CATENA_POOL_MAXIMUM) {
    float factor = 1.0f / at->divisor;
    CHANNELS result[c] *= factor;
  }
}

static int64_t pixels(const int64_t *extents) { return extents[0] * extents[1] * extents[2]; }

static void pool_share(void *arguments) {
  const pool_step *step = arguments;
  const catena_pool *pool = &step->pool;
  int64_t windows = pixels(pool->destination), image = pixels(pool->source) * pool->channels;
  catena_range share = catena_share(pool->batch * windows);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    window at = window_at(pool, unit % windows);
    pool_window(pool, &at, step->source + unit / windows * image, step->destination + unit * pool->channels);
  }
}

static catena_status run_pool(const void *arguments) {
  const pool_step *step = arguments;
  catena_parallel(pool_share, step, step->pool.batch * pixels(step->pool.destination) * step->pool.channels
    * pixels(step->pool.kernel));
  return catena_success;
}

void catena_add_pool(catena_program *program, const catena_pool *pool, const float *source, float *destination) {
  pool_step *step = catena_add_step(program, run_pool, sizeof(pool_step), NULL);
  *step = (pool_step){.pool = *pool, .source = source, .destination = destination};
}

// MARK: Gradient

static float norm_slope(float x, float y, int32_t p) {
  if (y == 0 || x == 0) return 0;
  float size = p == 1 ? 1 : p == 2 ? fabsf(x) / y : powf(fabsf(x) / y, (float)(p - 1));
  return x > 0 ? size : -size;
}

// One window of a block of channels; `stride` is the distance of pixels.
CATENA_VECTORISED
static void spread_window(
  const catena_pool *pool, const window *at, const float *gradient, const float *source, const float *output,
  float *destination, int64_t channels
) {
  int64_t stride = pool->channels;
  // 1 until the maximum is found.
  float open[CHANNEL_BLOCK];
  CHANNELS open[c] = 1.0f;
  float factor = pool->kind == CATENA_POOL_AVERAGE || pool->kind == CATENA_POOL_AVERAGE_PADDED
    ? 1.0f / at->divisor : 1.0f;
  FOR_TAPS(pool, at, pixel, {
    const float *x = source + pixel * stride;
    float *to = destination + pixel * stride;
    if (pool->kind == CATENA_POOL_MAXIMUM) {
      CHANNELS {
        float hit = x[c] == output[c] ? open[c] : 0.0f;
        to[c] += hit != 0 ? gradient[c] : 0.0f;
        open[c] -= hit;
      }
    } else if (pool->kind == CATENA_POOL_NORM) {
      for (int64_t c = 0; c < channels; c++) to[c] += gradient[c] * norm_slope(x[c], output[c], pool->p);
    } else {
      CHANNELS to[c] += gradient[c] * factor;
    }
  })
}

// Every thread owns whole images of some channels, so that sums have one order.
static void pool_gradient_share(void *arguments) {
  const pool_step *step = arguments;
  const catena_pool *pool = &step->pool;
  int64_t windows = pixels(pool->destination), count = pixels(pool->source);
  int64_t block = catena_minimum(pool->batch > 1 ? CHANNEL_BLOCK : 32, pool->channels);
  int64_t blocks = (pool->channels + block - 1) / block;
  catena_range share = catena_share(pool->batch * blocks);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    int64_t first = unit % blocks * block, sample = unit / blocks;
    int64_t channels = catena_minimum(block, pool->channels - first);
    int64_t image = sample * count * pool->channels + first;
    for (int64_t pixel = 0; pixel < count; pixel++) {
      memset(step->destination + image + pixel * pool->channels, 0, (size_t)channels * sizeof(float));
    }
    for (int64_t index = 0; index < windows; index++) {
      window at = window_at(pool, index);
      int64_t result = (sample * windows + index) * pool->channels + first;
      spread_window(pool, &at, step->gradient + result, step->source + image, step->output + result,
        step->destination + image, channels);
    }
  }
}

static catena_status run_pool_gradient(const void *arguments) {
  const pool_step *step = arguments;
  catena_parallel(pool_gradient_share, step, step->pool.batch * step->pool.channels
    * (pixels(step->pool.source) + pixels(step->pool.destination) * pixels(step->pool.kernel)));
  return catena_success;
}

void catena_add_pool_gradient(
  catena_program *program, const catena_pool *pool, const float *gradient, const float *source, const float *output,
  float *destination
) {
  pool_step *step = catena_add_step(program, run_pool_gradient, sizeof(pool_step), NULL);
  *step = (pool_step){
    .pool = *pool, .gradient = gradient, .source = source, .output = output, .destination = destination};
}
