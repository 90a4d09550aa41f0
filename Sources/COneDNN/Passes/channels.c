// Operands that have some of the channels that are walked, or more: a branch with few channels, read where it is added
// to a residual stream with many, and the stream's gradient where the branch needs it.
#include "elementwise.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

catena_channels *catena_channels_create(const catena_channel_map *map) {
  int64_t vectors = map->count == 0 ? 0 : map->channels[map->count - 1] / CATENA_LANES + 1;
  size_t bytes = (size_t)vectors * sizeof(catena_channel_vector) + (size_t)map->count * sizeof(int32_t);
  catena_channels *result = malloc(sizeof(catena_channels) + bytes);
  if (result == NULL) return NULL;
  catena_channel_vector *vector = (catena_channel_vector *)(result + 1);
  int32_t *channels = (int32_t *)(vector + vectors);
  *result = (catena_channels){map->count, vectors, channels, vector, map->is_placed};
  memcpy(channels, map->channels, (size_t)map->count * sizeof(int32_t));
  for (int64_t i = 0, next = 0; i < vectors; i++) {
    vector[i] = (catena_channel_vector){.before = (int32_t)next};
    for (; next < map->count && channels[next] / CATENA_LANES == i; next++) {
      vector[i].mask |= (uint16_t)(1 << channels[next] % CATENA_LANES);
      vector[i].first = (uint16_t)(2 * vector[i].first + 1);
    }
  }
  return result;
}

// Rows begin `stride` elements apart in memory, and `length` lanes apart.
typedef struct {
  const char *memory;
  int64_t stride, count, first, length;
  bool is_narrow;
} channel_rows;

// MARK: Vectors

#if defined(__x86_64__)

#define VECTORS __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))

// The elements of `mask`, each on its lane; nothing else is touched.
VECTORS CATENA_INLINE __m512 load_masked(const void *row, int64_t index, uint16_t mask, bool is_narrow) {
  if (!is_narrow) return _mm512_maskz_loadu_ps(mask, (const float *)row + index);
  __m256i half = _mm256_maskz_loadu_epi16(mask, (const uint16_t *)row + index);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

VECTORS CATENA_INLINE void place(const catena_channels *map, channel_rows rows, bool is_narrow, float *lanes) {
  int64_t begin = rows.first / CATENA_LANES, end = (rows.first + rows.length + CATENA_LANES - 1) / CATENA_LANES;
  int64_t bytes = rows.stride * (is_narrow ? 2 : 4), there = catena_minimum(end, map->vectors);
  const catena_channel_vector *vectors = map->vector;
  for (int64_t i = 0; i < rows.count; i++, rows.memory += bytes, lanes += rows.length) {
    float *to = lanes;
    for (int64_t j = begin; j < there; j++, to += CATENA_LANES) {
      __m512 value = load_masked(rows.memory, vectors[j].before, vectors[j].first, is_narrow);
      _mm512_storeu_ps(to, _mm512_maskz_expand_ps(vectors[j].mask, value));
    }
    for (int64_t j = there; j < end; j++, to += CATENA_LANES) _mm512_storeu_ps(to, _mm512_setzero_ps());
  }
}

VECTORS CATENA_INLINE void take(const catena_channels *map, channel_rows rows, bool is_narrow, float *lanes) {
  int64_t begin = map->channels[rows.first] / CATENA_LANES;
  int64_t end = map->channels[rows.first + rows.length - 1] / CATENA_LANES + 1;
  int64_t bytes = rows.stride * (is_narrow ? 2 : 4);
  const catena_channel_vector *vectors = map->vector;
  // Of the first vector, channels may belong to the row's piece before.
  uint16_t first = (uint16_t)(vectors[begin].mask & (0xffff << map->channels[rows.first] % CATENA_LANES));
  for (int64_t i = 0; i < rows.count; i++, rows.memory += bytes, lanes += rows.length) {
    __m512 value = load_masked(rows.memory, begin * CATENA_LANES, first, is_narrow);
    _mm512_storeu_ps(lanes, _mm512_maskz_compress_ps(first, value));
    float *to = lanes - rows.first;
    for (int64_t j = begin + 1; j < end; j++) {
      value = load_masked(rows.memory, j * CATENA_LANES, vectors[j].mask, is_narrow);
      _mm512_storeu_ps(to + vectors[j].before, _mm512_maskz_compress_ps(vectors[j].mask, value));
    }
  }
}

VECTORS static void load_vectors(const catena_channels *map, const channel_rows *rows, float *lanes) {
  if (map->is_placed) {
    rows->is_narrow ? place(map, *rows, true, lanes) : place(map, *rows, false, lanes);
  } else {
    rows->is_narrow ? take(map, *rows, true, lanes) : take(map, *rows, false, lanes);
  }
}

static bool has_vectors(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")
    && __builtin_cpu_supports("avx512dq");
}

#else

static bool has_vectors(void) { return false; }
static void load_vectors(const catena_channels *map, const channel_rows *rows, float *lanes) {}

#endif

// MARK: One by one

static void load_elements(const catena_channels *map, channel_rows rows, float *lanes) {
  int64_t bytes = rows.stride * (rows.is_narrow ? 2 : 4);
  int64_t begin = map->is_placed ? 0 : rows.first;
  while (map->is_placed && begin < map->count && map->channels[begin] < rows.first) begin += 1;
  int64_t end = map->is_placed ? begin : begin + rows.length;
  while (map->is_placed && end < map->count && map->channels[end] < rows.first + rows.length) end += 1;
  if (map->is_placed) memset(lanes, 0, (size_t)(rows.count * rows.length) * sizeof(float));
  for (int64_t i = 0; i < rows.count; i++, rows.memory += bytes, lanes += rows.length) {
    for (int64_t j = begin; j < end; j++) {
      int64_t channel = map->channels[j];
      if (map->is_placed) {
        lanes[channel - rows.first] = catena_element(rows.memory, j, rows.is_narrow);
      } else {
        lanes[j - begin] = catena_element(rows.memory, channel, rows.is_narrow);
      }
    }
  }
}

void catena_load_channels(
  const catena_channels *map, catena_type type, const void *source, int64_t stride, int64_t first, int64_t rows,
  int64_t length, float *lanes
) {
  channel_rows all = {source, stride, rows, first, length, type == CATENA_BF16};
  has_vectors() ? load_vectors(map, &all, lanes) : load_elements(map, all, lanes);
}
