// Pooling on channels-last images of three spatial axes.
#include "functions.h"
#include "panels.h"

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

// How many steps of `dilation` cover `extent`. Most windows are dense: no division.
CATENA_INLINE int64_t steps_over(int64_t extent, int64_t dilation) {
  return dilation == 1 ? extent : (extent + dilation - 1) / dilation;
}

CATENA_INLINE taps taps_of(const catena_pool *pool, int32_t axis, int64_t window) {
  int64_t start = window * pool->strides[axis] - pool->pads_begin[axis], dilation = pool->dilations[axis];
  taps result = {0, 0, 0};
  int64_t extent = pool->source[axis];
  result.first = start < 0 ? steps_over(-start, dilation) : 0;
  result.end = start < extent ? catena_minimum(pool->kernel[axis], steps_over(extent - start, dilation)) : 0;
  int64_t padded = extent + pool->pads_end[axis];
  result.padded = start < padded ? catena_minimum(pool->kernel[axis], steps_over(padded - start, dilation)) : 0;
  return result;
}

typedef struct {
  taps axes[CATENA_MAX_SPATIAL];
  int64_t origin[CATENA_MAX_SPATIAL], position[CATENA_MAX_SPATIAL];
} window;

CATENA_INLINE void place(const catena_pool *pool, window *at, int32_t axis, int64_t position) {
  at->position[axis] = position;
  at->axes[axis] = taps_of(pool, axis, position);
  at->origin[axis] = position * pool->strides[axis] - pool->pads_begin[axis];
}

static window window_at(const catena_pool *pool, int64_t index) {
  window result;
  for (int32_t axis = CATENA_MAX_SPATIAL - 1; axis >= 0; axis--) {
    place(pool, &result, axis, index % pool->destination[axis]);
    index /= pool->destination[axis];
  }
  return result;
}

// On to the next window in row-major order, behind the last one to the first.
CATENA_INLINE void advance(const catena_pool *pool, window *at) {
  for (int32_t axis = CATENA_MAX_SPATIAL - 1; axis >= 0; axis--) {
    bool wraps = at->position[axis] + 1 == pool->destination[axis];
    place(pool, at, axis, wraps ? 0 : at->position[axis] + 1);
    if (!wraps) return;
  }
}

// What an average divides by: the taps inside the image, or also those in its padding.
CATENA_INLINE float divisor_of(const catena_pool *pool, const window *at) {
  int64_t count = 1;
  for (int32_t axis = 0; axis < CATENA_MAX_SPATIAL; axis++) {
    const taps *here = &at->axes[axis];
    count *= pool->kind == CATENA_POOL_AVERAGE_PADDED ? here->padded : catena_maximum(0, here->end - here->first);
  }
  return (float)count;
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

// Channels of one window, VECTORS whole vectors or one with `lanes` of them; `readable` floats follow in memory.
#define POOL_CHANNELS(VECTORS) \
  CATENA_INLINE void pool_channels_##VECTORS( \
    const catena_pool *pool, const window *at, const float *image, float *result, int64_t lanes, int64_t readable, \
    bool can_overrun \
  ) { \
    bool is_maximum = pool->kind == CATENA_POOL_MAXIMUM; \
    vector values[VECTORS]; \
    UNROLL for (int32_t i = 0; i < VECTORS; i++) values[i] = broadcast(is_maximum ? -INFINITY : 0); \
    FOR_TAPS(pool, at, pixel, { \
      int64_t place = pixel * pool->channels; \
      UNROLL for (int32_t i = 0; i < VECTORS; i++) { \
        bool is_inside = VECTORS > 1 || place + LANES <= readable; \
        vector read = is_inside ? load(image + place + i * LANES) : load_lanes(image + place, lanes); \
        bit_vector wins = (bit_vector)((read > values[i]) | (read != read)); \
        vector largest = (vector)(((bit_vector)read & wins) | ((bit_vector)values[i] & ~wins)); \
        values[i] = is_maximum ? largest : values[i] + read; \
      } \
    }) \
    if (!is_maximum) { \
      vector factor = broadcast(1 / divisor_of(pool, at)); \
      UNROLL for (int32_t i = 0; i < VECTORS; i++) values[i] *= factor; \
    } \
    UNROLL for (int32_t i = 0; i < VECTORS; i++) { \
      if (VECTORS > 1 || lanes == LANES || can_overrun) { \
        store(result + i * LANES, values[i]); \
      } else { \
        store_part(result, values[i], lanes); \
      } \
    } \
  }
POOL_CHANNELS(1)
POOL_CHANNELS(4)

static void pool_norm(const catena_pool *pool, const window *at, const float *image, float *result) {
  int64_t channels = pool->channels;
  for (int64_t c = 0; c < channels; c++) result[c] = 0;
  FOR_TAPS(pool, at, pixel, {
    for (int64_t c = 0; c < channels; c++) result[c] += power_of(image[pixel * channels + c], pool->p);
  })
  for (int64_t c = 0; c < channels; c++) {
    result[c] = pool->p == 1 ? result[c] : pool->p == 2 ? sqrtf(result[c]) : powf(result[c], 1.0f / (float)pool->p);
  }
}

static int64_t pixels(const int64_t *extents) { return extents[0] * extents[1] * extents[2]; }

CATENA_VECTORISED
static void pool_windows(const pool_step *step, catena_range share) {
  const catena_pool *pool = &step->pool;
  int64_t windows = pixels(pool->destination), image = pixels(pool->source) * pool->channels;
  window at = window_at(pool, share.begin % windows);
  int64_t sample = share.begin / windows, left = windows - share.begin % windows;
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    const float *source = step->source + sample * image;
    float *result = step->destination + unit * pool->channels;
    int64_t readable = (pool->batch - sample) * image, c = 0;
    if (pool->kind == CATENA_POOL_NORM) {
      pool_norm(pool, &at, source, result);
    } else {
      for (; c + 4 * LANES <= pool->channels; c += 4 * LANES) {
        pool_channels_4(pool, &at, source + c, result + c, LANES, readable - c, false);
      }
      // What runs over a window's channels is the next one's, which is written after it.
      bool can_overrun = unit + 1 < share.end && pool->channels >= LANES / 2;
      for (; c < pool->channels; c += LANES) {
        int64_t lanes = catena_minimum(pool->channels - c, LANES);
        pool_channels_1(pool, &at, source + c, result + c, lanes, readable - c, can_overrun);
      }
    }
    advance(pool, &at);
    if (--left == 0) {
      sample += 1;
      left = windows;
    }
  }
}

static void pool_share(void *arguments) {
  const pool_step *step = arguments;
  catena_range share = catena_share(step->pool.batch * pixels(step->pool.destination));
  if (share.begin < share.end) pool_windows(step, share);
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
    ? 1.0f / divisor_of(pool, at) : 1.0f;
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
    window at = window_at(pool, 0);
    for (int64_t index = 0; index < windows; index++, advance(pool, &at)) {
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
