// Hessians of convolutions: correlations of whole images through their spectra.
#include "parallel.h"

#include <stdatomic.h>

enum {
  // Channels of a block: rows and, at most, columns.
  STRIP = 16,
  PANEL = 64,
  // Frequencies along the columns whose products stay in the nearest cache, and along the rows that are inverted at
  // once.
  CHUNK = 8,
  TOGETHER = 5,
  MOST_STAGES = 24,
  COMPLEX_BYTES = 128,
};

// A transform of `size` points, and the distances that are wanted of it, 0 first.
typedef struct {
  int64_t size, stages, lag_count;
  int radices[MOST_STAGES];
  int64_t *lags;
  // For every stage and p below its parts, cosine and sine of 2 pi p k / (radix * parts) for 0 < k < radix.
  void *factors;
} axis;

// A task: some channels of a plane by some of another or of the same one.
typedef struct {
  int64_t left, right, row, column, columns;
  // The group's first cell, and the cells of every distance.
  int64_t first_cell;
  const int32_t *targets;
  bool is_mirrored;
} block;

struct catena_spectra {
  int64_t height, width, channels, group_channels, plane_count, plane_rows, slots;
  // Of all planes, and how many vectors they fill.
  int64_t spectrum_channels, vectors;
  // Frequencies along the rows whose spectra are made and multiplied at a time.
  int64_t slab;
  bool is_double;
  axis rows, columns;
  catena_plane *planes;
  int32_t *targets;
  // The first frequency of every column x of the half plane; one more at the end.
  int64_t *starts;
  // Cosines and sines along the rows, times what the sum over all frequencies is divided by: of a column that has a
  // conjugate one, and of one that is its own; and along the columns.
  void *row_factors, *half_row_factors, *column_factors;
  block *blocks;
  int64_t block_count;
};

// MARK: Kernels

typedef float floats __attribute__((vector_size(64), aligned(4)));
typedef float half_floats __attribute__((vector_size(32), aligned(4)));
typedef double doubles __attribute__((vector_size(64), aligned(8)));

#define REAL float
#define VECTOR floats
#define LOAD(FROM) (*(const floats *)(FROM))
#define NAME(X) X##_of_floats
#include "spectra_kernels.h"
#undef REAL
#undef VECTOR
#undef LOAD
#undef NAME

#define REAL double
#define VECTOR doubles
#define LOAD(FROM) __builtin_convertvector(*(const half_floats *)(FROM), doubles)
#define NAME(X) X##_of_doubles
#include "spectra_kernels.h"
#undef REAL
#undef VECTOR
#undef LOAD
#undef NAME

// MARK: Plan

static size_t element_bytes(const catena_spectra *s) { return s->is_double ? sizeof(double) : sizeof(float); }
static int64_t vector_width(const catena_spectra *s) { return s->is_double ? 8 : 16; }

int64_t catena_transform_size(int64_t least) {
  for (int64_t size = least;; size++) {
    int64_t rest = size;
    for (int64_t prime = 2; prime <= 5; prime++) {
      while (rest % prime == 0) rest /= prime;
    }
    if (rest == 1) return size;
  }
}

static void set_real(void *values, int64_t index, double value, bool is_double) {
  if (is_double) {
    ((double *)values)[index] = value;
  } else {
    ((float *)values)[index] = (float)value;
  }
}

// Cosine and sine of 2 pi `numerator` / `denominator`.
static void set_turn(
  void *values, int64_t index, int64_t numerator, int64_t denominator, double scale, bool is_double
) {
  double angle = 2 * 3.14159265358979323846 * (double)(numerator % denominator) / (double)denominator;
  set_real(values, index, scale * cos(angle), is_double);
  set_real(values, index + 1, scale * sin(angle), is_double);
}

static bool make_axis(axis *a, int64_t size, const int64_t *lags, int64_t lag_count, bool is_double) {
  a->size = size;
  a->lag_count = lag_count;
  a->lags = malloc((size_t)lag_count * sizeof(int64_t));
  // Fewer than two values per point and stage.
  a->factors = malloc((size_t)(4 * size + 16) * sizeof(double));
  if (!a->lags || !a->factors) return false;
  memcpy(a->lags, lags, (size_t)lag_count * sizeof(int64_t));
  int64_t rest = size, place = 0;
  for (int radix = 5; rest > 1; radix = radix == 5 ? 4 : radix == 4 ? 3 : 2) {
    while (rest % radix == 0) {
      rest /= radix;
      a->radices[a->stages++] = radix;
      for (int64_t p = 0; p < rest; p++) {
        for (int k = 1; k < radix; k++, place += 2) set_turn(a->factors, place, p * k, radix * rest, 1, is_double);
      }
    }
  }
  return true;
}

static void *new_row_factors(const catena_spectra *s, bool is_half) {
  const axis *a = &s->rows;
  int64_t lags = 2 * a->lag_count - 1;
  void *factors = malloc((size_t)(a->size * (lags + 1)) * sizeof(double));
  if (!factors) return NULL;
  for (int64_t f = 0; f < a->size; f++) {
    // Products are twice the spectrum; a frequency that is its own conjugate comes twice among the stored ones.
    double scale = 0.5 / (double)(a->size * s->columns.size);
    if (is_half && (f == 0 || 2 * f == a->size)) scale *= 0.5;
    set_real(factors, f * lags, scale, s->is_double);
    for (int64_t k = 1; k < a->lag_count; k++) {
      set_turn(factors, f * lags + 2 * k - 1, f * a->lags[k], a->size, scale, s->is_double);
    }
  }
  return factors;
}

static void *new_column_factors(const catena_spectra *s) {
  const axis *a = &s->columns;
  void *factors = malloc((size_t)((a->size / 2 + 1) * 2 * a->lag_count) * sizeof(double));
  if (!factors) return NULL;
  for (int64_t f = 0; f <= a->size / 2; f++) {
    for (int64_t k = 0; k < a->lag_count; k++) {
      set_turn(factors, (f * a->lag_count + k) * 2, f * a->lags[k], a->size, 1, s->is_double);
    }
  }
  return factors;
}

// Appends the blocks of a group's pair of planes, or only counts them.
static void append_blocks(
  catena_spectra *s, int64_t group, int64_t left, int64_t right, int64_t cells, bool only_counts
) {
  int64_t n = s->group_channels, pair = left * (left + 1) / 2 + right;
  int64_t pair_targets = 2 * s->rows.lag_count * (2 * s->columns.lag_count - 1);
  for (int64_t row = 0; row < n; row += STRIP) {
    int64_t end = left == right ? row + STRIP : n;
    for (int64_t column = 0; column < end; column += PANEL) {
      int64_t index = s->block_count++;
      if (only_counts) continue;
      s->blocks[index] = (block){
        .left = left * s->channels + group * n + row,
        .right = right * s->channels + group * n + column,
        .row = row,
        .column = column,
        .columns = catena_minimum(PANEL, end - column),
        .first_cell = group * cells,
        .targets = s->targets + pair * pair_targets,
        .is_mirrored = left == right};
    }
  }
}

static void make_blocks(catena_spectra *s, int64_t groups, int64_t cells, bool only_counts) {
  s->block_count = 0;
  for (int64_t group = 0; group < groups; group++) {
    for (int64_t left = 0; left < s->plane_count; left++) {
      for (int64_t right = 0; right <= left; right++) append_blocks(s, group, left, right, cells, only_counts);
    }
  }
}

static void *copy_of(const void *values, size_t bytes) {
  void *copy = malloc(bytes);
  if (copy) memcpy(copy, values, bytes);
  return copy;
}

// Spectra should be few enough for the cache, but enough to make the additions to the cells cheap.
static int64_t slab(const catena_spectra *s, int64_t cell_elements) {
  enum { CACHED_BYTES = 3 << 19 };
  int64_t bytes = s->rows.size * s->slots * 3 * s->spectrum_channels * (int64_t)element_bytes(s);
  int64_t wanted = catena_maximum(CACHED_BYTES, cell_elements * (int64_t)element_bytes(s));
  return catena_minimum(s->columns.size / 2 + 1, catena_maximum(1, wanted / bytes));
}

static bool fill(catena_spectra *s, const catena_correlation *c) {
  if (!make_axis(&s->rows, c->size[0], c->row_lags, c->row_lag_count, c->is_double)) return false;
  if (!make_axis(&s->columns, c->size[1], c->column_lags, c->column_lag_count, c->is_double)) return false;
  int64_t pairs = c->plane_count * (c->plane_count + 1) / 2;
  int64_t targets = pairs * c->row_lag_count * (2 * c->column_lag_count - 1) * 2;
  s->planes = copy_of(c->planes, (size_t)c->plane_count * sizeof(catena_plane));
  s->targets = copy_of(c->targets, (size_t)targets * sizeof(int32_t));
  s->starts = malloc((size_t)(s->columns.size / 2 + 2) * sizeof(int64_t));
  s->row_factors = new_row_factors(s, false);
  s->half_row_factors = new_row_factors(s, true);
  s->column_factors = new_column_factors(s);
  make_blocks(s, c->groups, c->cells, true);
  s->blocks = malloc((size_t)s->block_count * sizeof(block));
  if (!s->planes || !s->targets || !s->starts || !s->row_factors || !s->half_row_factors || !s->column_factors
      || !s->blocks) {
    return false;
  }
  make_blocks(s, c->groups, c->cells, false);
  s->slab = slab(s, c->groups * targets / 2 * c->channels * c->channels);
  s->starts[0] = 0;
  for (int64_t x = 0; x <= s->columns.size / 2; x++) {
    bool is_own = x == 0 || 2 * x == s->columns.size;
    s->starts[x + 1] = s->starts[x] + (is_own ? s->rows.size / 2 + 1 : s->rows.size);
  }
  return true;
}

catena_spectra *catena_make_spectra(const catena_correlation *c) {
  catena_spectra *s = calloc(1, sizeof(catena_spectra));
  if (!s) return NULL;
  s->height = c->height;
  s->width = c->width;
  s->channels = c->groups * c->channels;
  s->group_channels = c->channels;
  s->plane_count = c->plane_count;
  s->spectrum_channels = c->plane_count * s->channels;
  s->slots = (c->slots + 1) / 2 * 2;
  s->is_double = c->is_double;
  s->vectors = s->spectrum_channels / vector_width(s);
  for (int64_t i = 0; i < c->plane_count; i++) s->plane_rows = catena_maximum(s->plane_rows, c->planes[i].rows);
  if (fill(s, c)) return s;
  catena_free_spectra(s);
  return NULL;
}

void catena_free_spectra(catena_spectra *s) {
  if (!s) return;
  void *parts[] = {s->rows.lags, s->rows.factors, s->columns.lags, s->columns.factors, s->planes, s->targets, s->starts,
    s->row_factors, s->half_row_factors, s->column_factors, s->blocks, s};
  for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) free(parts[i]);
}

size_t catena_spectra_bytes(const catena_spectra *s) {
  return (size_t)(s->columns.size * s->slots / 2 * s->vectors * s->plane_rows) * COMPLEX_BYTES;
}

static size_t slab_bytes(const catena_spectra *s) {
  return (size_t)(s->slab * s->rows.size * s->slots * 3 * s->spectrum_channels) * element_bytes(s);
}

static size_t transform_bytes(const catena_spectra *s) {
  return (size_t)(4 * catena_maximum(s->rows.size, s->columns.size)) * COMPLEX_BYTES;
}

static size_t product_bytes(const catena_spectra *s) {
  int64_t step = (2 * s->rows.lag_count - 1) * 2 * STRIP * PANEL;
  int64_t totals = s->rows.lag_count * s->columns.lag_count * 4 * STRIP * PANEL;
  return CHUNK * 32 * 64 + (size_t)(TOGETHER * step + totals) * element_bytes(s);
}

static size_t thread_bytes(const catena_spectra *s) {
  size_t transforms = transform_bytes(s), products = product_bytes(s);
  return transforms > products ? transforms : products;
}

size_t catena_spectra_scratch_bytes(const catena_spectra *s, int32_t threads) {
  return slab_bytes(s) + thread_bytes(s) * (size_t)threads;
}

// MARK: Runs

typedef struct {
  const catena_spectra *problem;
  const float *source;
  int64_t images, slot, begin, end;
  void *spectra, *sums, *slab, *scratch;
  atomic_int_fast64_t next;
} spectra_run;

static void *thread_scratch(const spectra_run *run) {
  return (char *)run->scratch + (size_t)omp_get_thread_num() * thread_bytes(run->problem);
}

CATENA_VECTORISED
static void transform_float_row(
  const catena_spectra *s, const float *left, const float *right, int64_t step, int64_t columns, void *to,
  void *scratch
) {
  transform_row_of_floats(s, left, right, step, columns, to, scratch);
}

CATENA_VECTORISED
static void transform_double_row(
  const catena_spectra *s, const float *left, const float *right, int64_t step, int64_t columns, void *to,
  void *scratch
) {
  transform_row_of_doubles(s, left, right, step, columns, to, scratch);
}

static void transform_rows(void *data) {
  spectra_run *run = data;
  const catena_spectra *s = run->problem;
  int64_t line = s->width * s->channels, image = s->height * line, tasks_of_pair = s->plane_count * s->plane_rows;
  for (;;) {
    int64_t task = atomic_fetch_add(&run->next, 1), pair = task / tasks_of_pair;
    if (pair >= (run->images + 1) / 2) return;
    int64_t index = task / s->plane_rows % s->plane_count, y = task % s->plane_rows;
    const catena_plane *plane = &s->planes[index];
    if (y >= plane->rows) continue;
    const float *left = run->source + 2 * pair * image + (plane->first_row + y * plane->row_step) * line
      + plane->first_column * s->channels;
    const float *right = 2 * pair + 1 < run->images ? left + image : NULL;
    int64_t step = plane->column_step * s->channels;
    int64_t vector = (run->slot / 2 + pair) * s->vectors + index * s->vectors / s->plane_count;
    void *to = (char *)run->spectra + (size_t)(vector * s->plane_rows + y) * COMPLEX_BYTES;
    if (s->is_double) {
      transform_double_row(s, left, right, step, plane->columns, to, thread_scratch(run));
    } else {
      transform_float_row(s, left, right, step, plane->columns, to, thread_scratch(run));
    }
  }
}

int64_t catena_transform_images(
  const catena_spectra *s, const float *source, int64_t images, int64_t slot, void *spectra, void *scratch
) {
  spectra_run run = {
    .problem = s, .source = source, .images = images, .slot = slot, .spectra = spectra, .scratch = scratch};
  catena_parallel(transform_rows, &run, images * s->height * s->width * s->channels);
  return slot + (images + 1) / 2 * 2;
}

CATENA_VECTORISED
static void transform_float_columns(
  const catena_spectra *s, const void *half, int64_t rows, int64_t x, float *to, void *scratch
) {
  transform_columns_of_floats(s, half, rows, x, to, scratch);
}

CATENA_VECTORISED
static void transform_double_columns(
  const catena_spectra *s, const void *half, int64_t rows, int64_t x, double *to, void *scratch
) {
  transform_columns_of_doubles(s, half, rows, x, to, scratch);
}

static void transform_columns(void *data) {
  spectra_run *run = data;
  const catena_spectra *s = run->problem;
  int64_t pairs = run->slot / 2, tasks = (run->end - run->begin) * pairs * s->vectors;
  for (;;) {
    int64_t task = atomic_fetch_add(&run->next, 1);
    if (task >= tasks) return;
    int64_t vector = task % s->vectors, pair = task / s->vectors % pairs, x = run->begin + task / s->vectors / pairs;
    int64_t rows = s->planes[vector * s->plane_count / s->vectors].rows;
    size_t line = (size_t)((pair * s->vectors + vector) * s->plane_rows);
    const char *half = (const char *)run->spectra + line * COMPLEX_BYTES;
    int64_t frequency = s->starts[x] - s->starts[run->begin];
    int64_t place = 3 * vector_width(s) * ((frequency * s->vectors + vector) * s->slots + 2 * pair);
    if (s->is_double) {
      transform_double_columns(s, half, rows, x, (double *)run->slab + place, thread_scratch(run));
    } else {
      transform_float_columns(s, half, rows, x, (float *)run->slab + place, thread_scratch(run));
    }
  }
}

CATENA_VECTORISED
static void add_float_block(
  const catena_spectra *s, const block *b, const float *spectra, int64_t slots, int64_t begin, int64_t end,
  float *sums, void *scratch
) {
  add_block_of_floats(s, b, spectra, slots, begin, end, sums, scratch);
}

CATENA_VECTORISED
static void add_double_block(
  const catena_spectra *s, const block *b, const double *spectra, int64_t slots, int64_t begin, int64_t end,
  double *sums, void *scratch
) {
  add_block_of_doubles(s, b, spectra, slots, begin, end, sums, scratch);
}

static void add_blocks(void *data) {
  spectra_run *run = data;
  const catena_spectra *s = run->problem;
  for (;;) {
    // A block is one thread's: sums do not depend on who computes them.
    int64_t task = atomic_fetch_add(&run->next, 1);
    if (task >= s->block_count) return;
    const block *b = &s->blocks[s->block_count - 1 - task];
    void *scratch = thread_scratch(run);
    if (s->is_double) {
      add_double_block(s, b, run->slab, run->slot, run->begin, run->end, run->sums, scratch);
    } else {
      add_float_block(s, b, run->slab, run->slot, run->begin, run->end, run->sums, scratch);
    }
  }
}

void catena_add_correlations(const catena_spectra *s, const void *spectra, int64_t slots, void *sums, void *scratch) {
  int64_t count = s->columns.size / 2 + 1;
  for (int64_t first = 0; first < count; first += s->slab) {
    spectra_run run = {
      .problem = s, .slot = slots, .begin = first, .end = catena_minimum(count, first + s->slab),
      .spectra = (void *)spectra, .sums = sums, .slab = scratch, .scratch = (char *)scratch + slab_bytes(s)};
    int64_t work = s->slab * s->rows.size * slots * s->spectrum_channels;
    catena_parallel(transform_columns, &run, work);
    atomic_store(&run.next, 0);
    catena_parallel(add_blocks, &run, work * s->group_channels);
  }
}

void catena_turn_squares(void *matrix, int64_t channels, bool is_double) {
  if (is_double) {
    turn_of_doubles(matrix, channels);
  } else {
    turn_of_floats(matrix, channels);
  }
}

// MARK: Live channels

enum { LANES = 16 };

CATENA_VECTORISED
static bool mark_pixels(const float *pixels, int64_t count, int64_t step, int32_t *marks) {
  int32_t found[LANES];
  memcpy(found, marks, sizeof(found));
  for (int64_t i = 0; i < count; i++) {
    for (int lane = 0; lane < LANES; lane++) found[lane] |= pixels[i * step + lane] != 0;
  }
  memcpy(marks, found, sizeof(found));
  int32_t all = 1;
  for (int lane = 0; lane < LANES; lane++) all &= found[lane];
  return all;
}

void catena_mark_live(
  const float *source, int64_t images, int64_t height, int64_t width, int64_t channels, const catena_plane *part,
  bool *is_live
) {
  for (int64_t first = 0; first < channels; first += LANES) {
    int32_t marks[LANES];
    bool is_done = true;
    for (int lane = 0; lane < LANES; lane++) {
      marks[lane] = is_live[first + lane];
      is_done &= is_live[first + lane];
    }
    for (int64_t row = 0; row < images * part->rows && !is_done; row++) {
      int64_t y = row / part->rows * height + part->first_row + row % part->rows * part->row_step;
      const float *pixels = source + (y * width + part->first_column) * channels + first;
      is_done = mark_pixels(pixels, part->columns, part->column_step * channels, marks);
    }
    for (int lane = 0; lane < LANES; lane++) is_live[first + lane] = marks[lane];
  }
}
