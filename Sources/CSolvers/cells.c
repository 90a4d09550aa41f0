// Hessians of convolutions: the products of shifted images.
#include "parallel.h"

#include <stdatomic.h>

// MARK: In place

// A block of the product stays in registers while the images are read where they lie, without any copy. With very many
// channels neighbouring pixels lie too far apart for that.
typedef float floats __attribute__((vector_size(64), aligned(4)));
typedef float half_floats __attribute__((vector_size(32), aligned(4)));
typedef double doubles __attribute__((vector_size(64), aligned(8)));

#define LOAD_FLOATS(FROM) (*(const floats *)(FROM))
#define LOAD_DOUBLES(FROM) __builtin_convertvector(*(const half_floats *)(FROM), doubles)

// Some rows of an image, of each some neighbouring positions, or every `step`-th.
typedef struct {
  int64_t rows, row_step, columns, step;
} positions;

// Adds `ROWS` x (elements of VECTORS vectors) entries of the sum over positions of left(p)^T right(p) to `target`. Sums
// begin at zero: many small ones added to the large one lose less than all products.
#define ADD_BLOCK(NAME, TYPE, VECTOR, LOAD, ROWS, VECTORS) \
  CATENA_INLINE void NAME(const float *left, const float *right, positions at, TYPE *target, int64_t stride) { \
    enum { WIDTH = sizeof(VECTOR) / sizeof(TYPE) }; \
    VECTOR sums[ROWS][VECTORS] = {0}; \
    for (int64_t y = 0; y < at.rows; y++) { \
      const float *l = left + y * at.row_step, *end = l + at.columns * at.step, *r = right + y * at.row_step; \
      for (; l < end; l += at.step, r += at.step) { \
        VECTOR columns[VECTORS]; \
        for (int v = 0; v < VECTORS; v++) columns[v] = LOAD(r + v * WIDTH); \
        for (int i = 0; i < ROWS; i++) { \
          TYPE factor = l[i]; \
          for (int v = 0; v < VECTORS; v++) sums[i][v] += factor * columns[v]; \
        } \
      } \
    } \
    for (int i = 0; i < ROWS; i++) { \
      for (int v = 0; v < VECTORS; v++) *(VECTOR *)(target + i * stride + v * WIDTH) += sums[i][v]; \
    } \
  }

ADD_BLOCK(add_narrow_floats, float, floats, LOAD_FLOATS, 16, 1)
ADD_BLOCK(add_wide_floats, float, floats, LOAD_FLOATS, 8, 2)
ADD_BLOCK(add_doubles, double, doubles, LOAD_DOUBLES, 8, 2)

enum { NARROW = 16, WIDE = 32 };

// Of a symmetric product the blocks that reach below the diagonal.
CATENA_VECTORISED
static void add_float_blocks(
  const float *left, const float *right, positions at, float *target, int64_t channels, bool is_symmetric
) {
  int64_t column = 0;
  for (; column + WIDE <= channels; column += WIDE) {
    for (int64_t row = is_symmetric ? column : 0; row < channels; row += 8) {
      add_wide_floats(left + row, right + column, at, target + row * channels + column, channels);
    }
  }
  for (; column < channels; column += NARROW) {
    for (int64_t row = is_symmetric ? column : 0; row < channels; row += 16) {
      add_narrow_floats(left + row, right + column, at, target + row * channels + column, channels);
    }
  }
}

CATENA_VECTORISED
static void add_double_blocks(
  const float *left, const float *right, positions at, double *target, int64_t channels, bool is_symmetric
) {
  for (int64_t column = 0; column < channels; column += NARROW) {
    for (int64_t row = is_symmetric ? column : 0; row < channels; row += 8) {
      add_doubles(left + row, right + column, at, target + row * channels + column, channels);
    }
  }
}

typedef struct {
  const catena_cells *problem;
  const float *source;
  void *sums;
  atomic_int_fast64_t next;
} cell_run;

// Positions between two additions to the matrix: enough to make those cheap, few enough for the nearest cache.
enum { RUN_POSITIONS = 96, MOST_CHANNELS = 256 };

static void add_cell(const cell_run *run, const catena_cell *cell, int64_t group, int64_t place) {
  const catena_cells *p = run->problem;
  int64_t all = p->groups * p->channels, line = p->width * all;
  int64_t shift = cell->row_distance * line + cell->column_distance * all;
  bool is_symmetric = shift == 0;
  int64_t most = catena_maximum(1, RUN_POSITIONS / catena_maximum(1, cell->columns));
  for (int64_t n = 0; n < p->images; n++) {
    const float *image = run->source + n * p->height * line + cell->first_column * all + group * p->channels;
    for (int64_t i = 0; i < cell->rows; i += most) {
      const float *left = image + (cell->first_row + i * cell->row_step) * line;
      positions at = {
        catena_minimum(most, cell->rows - i), cell->row_step * line, cell->columns, cell->column_step * all};
      if (p->is_double) {
        add_double_blocks(left, left + shift, at, (double *)run->sums + place, p->channels, is_symmetric);
      } else {
        add_float_blocks(left, left + shift, at, (float *)run->sums + place, p->channels, is_symmetric);
      }
    }
  }
}

static void add_cells(void *data) {
  cell_run *run = data;
  const catena_cells *p = run->problem;
  for (;;) {
    // A cell of a group is one thread's from the first image to the last: sums do not depend on who computes them.
    int64_t task = atomic_fetch_add(&run->next, 1);
    if (task >= p->groups * p->order_count) return;
    int64_t group = task % p->groups, cell = p->order[task / p->groups];
    add_cell(run, &p->cells[cell], group, (group * p->count + cell) * p->channels * p->channels);
  }
}

bool catena_can_add_cells(int64_t channels, int64_t groups) {
  return channels % NARROW == 0 && channels * groups <= MOST_CHANNELS;
}

void catena_add_cells(const catena_cells *problem, const float *source, void *sums) {
  cell_run run = {.problem = problem, .source = source, .sums = sums};
  int64_t work = problem->images * problem->height * problem->width * problem->channels * problem->channels;
  catena_parallel(add_cells, &run, work);
}

// MARK: Many channels

typedef struct {
  const catena_product *products;
  const int32_t *order;
  int64_t count, size, stride;
  bool is_double;
  atomic_int_fast64_t next;
} product_run;

static void add_product(const product_run *run, const catena_product *p) {
  int n = (int)run->size, stride = (int)run->stride, count = (int)p->positions;
  for (int64_t part = 0; part < p->parts; part++) {
    if (run->is_double) {
      const double *left = (const double *)p->left + part * p->part_step;
      const double *right = (const double *)p->right + part * p->part_step;
      if (p->is_symmetric) {
        cblas_dsyrk(CblasRowMajor, CblasLower, CblasTrans, n, count, 1, left, stride, 1, p->target, n);
      } else {
        cblas_dgemm(
          CblasRowMajor, CblasTrans, CblasNoTrans, n, n, count, 1, left, stride, right, stride, 1, p->target, n);
      }
    } else {
      const float *left = (const float *)p->left + part * p->part_step;
      const float *right = (const float *)p->right + part * p->part_step;
      if (p->is_symmetric) {
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, n, count, 1, left, stride, 1, p->target, n);
      } else {
        cblas_sgemm(
          CblasRowMajor, CblasTrans, CblasNoTrans, n, n, count, 1, left, stride, right, stride, 1, p->target, n);
      }
    }
  }
}

static void add_products(void *data) {
  product_run *run = data;
  for (;;) {
    int64_t task = atomic_fetch_add(&run->next, 1);
    if (task >= run->count) return;
    add_product(run, &run->products[run->order[task]]);
  }
}

void catena_add_products(
  const catena_product *products, const int32_t *order, int64_t count, int64_t size, int64_t stride, bool is_double
) {
  product_run run = {products, order, count, size, stride, is_double};
  // One product is shared out inside, several among the threads: then none waits for another.
  if (count == 1) add_products(&run);
  else GOMP_parallel(add_products, &run, 0, 0);
}
