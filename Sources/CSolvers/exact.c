// SPADE's exact solver: greedy optimal brain surgeon in every row, then a budget over all rows.
#include "selection.h"

#include <stdatomic.h>

CATENA_SELECT(catena_select_double, double)

// MARK: Inverse

double catena_cholesky(double *hessian, int64_t columns) {
  int n = (int)columns, info = 0;
  dpotrf_("U", &n, hessian, &n, &info);
  if (info != 0) return 0;
  double smallest = INFINITY, largest = 0;
  for (int64_t i = 0; i < columns; i++) {
    double pivot = hessian[i * columns + i] * hessian[i * columns + i];
    smallest = pivot < smallest ? pivot : smallest;
    largest = pivot > largest ? pivot : largest;
  }
  return largest > 0 && isfinite(largest) ? smallest / largest : 0;
}

void catena_inverse_from_factor(double *factor, int64_t columns) {
  int n = (int)columns, info = 0;
  dpotri_("U", &n, factor, &n, &info);
  for (int64_t row = 0; row < columns; row++) {
    for (int64_t column = row + 1; column < columns; column++) {
      factor[row * columns + column] = factor[column * columns + row];
    }
  }
}

// MARK: Elimination

// Lanes of the block scores: as many doubles as the widest registers hold.
enum { LANES = 8, LATE_REMOVALS = 64 };

// Neighbouring blocks.
typedef struct {
  int64_t begin, end;
} block_run;

// What one thread needs for a row. `columns` shrinks as the matrix is compacted; the strides stay.
typedef struct {
  int64_t columns, stride, block, blocks, pending;
  // The lower triangle of the inverse Hessian of what is left, without the pending removals: all rows' own until the first
  // compaction.
  const double *matrix;
  int64_t matrix_stride;
  double *compacted;
  // The pending removals: late x stride.
  double *removals;
  double *weights;
  // Diagonal blocks of the inverse Hessian, up to date: block * block planes of `planes` entries.
  double *diagonal;
  int64_t planes;
  // Infinite for a block that is removed but not yet compacted away, else 0.
  double *removed;
  double *scores;
  // The rows of the removal under way by place in the block: block x block x planes.
  double *transposed;
  // The blocks that a compaction keeps.
  block_run *kept;
  int32_t *ids;
} elimination_row;

static int64_t late_removals(int64_t block) {
  return catena_maximum(1, LATE_REMOVALS / block) * block;
}

static int64_t padded(int64_t count) { return (count + LANES - 1) / LANES * LANES; }

static int64_t row_doubles(int64_t columns, int64_t block) {
  int64_t stride = padded(columns) + LANES, planes = padded(columns / block);
  // Planes and weights have lanes to spare.
  int64_t runs = (late_removals(block) / block + 1) * (int64_t)(sizeof(block_run) / sizeof(double));
  return columns * stride + late_removals(block) * stride + (2 * block * block + block + 3) * planes + runs;
}

size_t catena_elimination_scratch_bytes(const catena_elimination *problem, int32_t threads) {
  return (size_t)threads * (size_t)row_doubles(problem->columns, problem->block) * sizeof(double);
}

static elimination_row row_memory(const catena_elimination *p, double *memory) {
  int64_t stride = padded(p->columns) + LANES, planes = padded(p->columns / p->block);
  elimination_row row = {.stride = stride, .block = p->block, .planes = planes};
  double *next = memory;
  row.compacted = next, next += p->columns * stride;
  row.removals = next, next += late_removals(p->block) * stride;
  row.weights = next, next += p->block * planes;
  row.diagonal = next, next += p->block * p->block * planes;
  row.transposed = next, next += p->block * p->block * planes;
  row.removed = next, next += planes;
  row.scores = next, next += planes;
  row.kept = (block_run *)next;
  row.ids = (int32_t *)(row.kept + late_removals(p->block) / p->block + 1);
  return row;
}

static void begin_row(elimination_row *row, const catena_elimination *p, int64_t index) {
  int64_t block = p->block;
  row->columns = p->columns;
  row->blocks = p->columns / block;
  row->pending = 0;
  row->matrix = p->inverse;
  row->matrix_stride = p->columns;
  memcpy(row->weights, p->weights + index * p->columns, (size_t)p->columns * sizeof(double));
  for (int64_t i = p->columns; i < block * row->planes; i++) row->weights[i] = 0;
  for (int64_t i = 0; i < block; i++) {
    for (int64_t j = 0; j < block; j++) {
      double *plane = row->diagonal + (i * block + j) * row->planes;
      for (int64_t q = 0; q < row->planes; q++) {
        // Lanes without a block compute with the identity.
        plane[q] = q < row->blocks ? p->inverse[(q * block + i) * p->columns + q * block + j] : i == j;
      }
    }
  }
  for (int64_t q = 0; q < row->planes; q++) row->removed[q] = q < row->blocks ? 0 : INFINITY;
  for (int64_t q = 0; q < row->blocks; q++) row->ids[q] = (int32_t)q;
}

CATENA_VECTORISED
static void score_single(const double *weights, const double *diagonal, const double *removed, double *scores, int64_t count) {
  for (int64_t i = 0; i < count; i++) scores[i] = weights[i] * weights[i] / diagonal[i] + removed[i];
}

// w^T inverse(D) w of LANES blocks at once, by Cholesky factors.
CATENA_VECTORISED
static void score_lanes(
  const double *weights, const double *diagonal, int64_t planes, int64_t block, double *factor, double *solved,
  double *scores
) {
  for (int64_t l = 0; l < LANES; l++) scores[l] = 0;
  for (int64_t i = 0; i < block; i++) {
    double *line = factor + i * block * LANES;
    for (int64_t j = 0; j <= i; j++) {
      double sum[LANES];
      for (int64_t l = 0; l < LANES; l++) sum[l] = diagonal[(i * block + j) * planes + l];
      const double *other = factor + j * block * LANES;
      for (int64_t k = 0; k < j; k++) {
        for (int64_t l = 0; l < LANES; l++) sum[l] -= line[k * LANES + l] * other[k * LANES + l];
      }
      if (j < i) {
        for (int64_t l = 0; l < LANES; l++) line[j * LANES + l] = sum[l] * other[j * LANES + l];
      } else {
        // The diagonal holds reciprocals.
        for (int64_t l = 0; l < LANES; l++) line[i * LANES + l] = 1 / sqrt(sum[l]);
      }
    }
    double sum[LANES];
    for (int64_t l = 0; l < LANES; l++) sum[l] = weights[l * block + i];
    for (int64_t k = 0; k < i; k++) {
      for (int64_t l = 0; l < LANES; l++) sum[l] -= line[k * LANES + l] * solved[k * LANES + l];
    }
    for (int64_t l = 0; l < LANES; l++) {
      solved[i * LANES + l] = sum[l] * line[i * LANES + l];
      scores[l] += solved[i * LANES + l] * solved[i * LANES + l];
    }
  }
}

enum { MAXIMUM_BLOCK = 256, SMALL_BLOCK = 32 };

static void score_blocks(elimination_row *row) {
  int64_t block = row->block;
  if (block == 1) {
    score_single(row->weights, row->diagonal, row->removed, row->scores, row->blocks);
    return;
  }
  // The factor of the removal under way is not needed any more: its place serves.
  double small[(SMALL_BLOCK * SMALL_BLOCK + SMALL_BLOCK) * LANES];
  double *factor = small;
  if (block > SMALL_BLOCK) factor = malloc((size_t)((block * block + block) * LANES) * sizeof(double));
  for (int64_t q = 0; q < row->blocks; q += LANES) {
    score_lanes(
      row->weights + q * block, row->diagonal + q, row->planes, block, factor, factor + block * block * LANES,
      row->scores + q);
    for (int64_t l = 0; l < LANES; l++) {
      // A block that is removed may have any score, also none.
      if (row->removed[q + l] != 0) row->scores[q + l] = INFINITY;
    }
  }
  if (factor != small) free(factor);
}

static int64_t smallest_score(const elimination_row *row) {
  int64_t best = -1;
  for (int64_t q = 0; q < row->blocks; q++) {
    if (row->removed[q] == 0 && (best < 0 || row->scores[q] < row->scores[best])) best = q;
  }
  return best;
}

CATENA_VECTORISED
static void subtract_product(double *target, const double *left, const double *right, int64_t count) {
  for (int64_t i = 0; i < count; i++) target[i] -= left[i] * right[i];
}

CATENA_VECTORISED
static void subtract_scaled(double *target, const double *source, double factor, int64_t count) {
  for (int64_t i = 0; i < count; i++) target[i] -= factor * source[i];
}

CATENA_VECTORISED
static void scale(double *target, double factor, int64_t count) {
  for (int64_t i = 0; i < count; i++) target[i] *= factor;
}

// rows[i][c] -= sum over p of removals[p][first + i] removals[p][c], `count` rows of whole vectors of columns. Sums of some
// rows and vectors stay in registers.
#define SUBTRACT_PENDING(NAME, ROWS, VECTORS) \
  CATENA_INLINE void NAME( \
    const double *removals, int64_t stride, int64_t pending, int64_t first, double *rows, int64_t begin \
  ) { \
    double sums[ROWS][VECTORS * LANES]; \
    for (int i = 0; i < ROWS; i++) { \
      for (int l = 0; l < VECTORS * LANES; l++) sums[i][l] = rows[i * stride + begin + l]; \
    } \
    for (int64_t p = 0; p < pending; p++) { \
      const double *line = removals + p * stride; \
      for (int i = 0; i < ROWS; i++) { \
        for (int l = 0; l < VECTORS * LANES; l++) sums[i][l] -= line[first + i] * line[begin + l]; \
      } \
    } \
    for (int i = 0; i < ROWS; i++) { \
      for (int l = 0; l < VECTORS * LANES; l++) rows[i * stride + begin + l] = sums[i][l]; \
    } \
  }
SUBTRACT_PENDING(subtract_narrow, 1, 1)
SUBTRACT_PENDING(subtract_wide, 1, 4)
SUBTRACT_PENDING(subtract_three_narrow, 3, 1)
SUBTRACT_PENDING(subtract_three_wide, 3, 4)

CATENA_VECTORISED
static void subtract_pending(
  const double *removals, int64_t stride, int64_t pending, int64_t first, int64_t count, double *rows, int64_t columns
) {
  int64_t i = 0, begin;
  for (; i + 3 <= count; i += 3) {
    double *line = rows + i * stride;
    for (begin = 0; begin + 4 * LANES <= columns; begin += 4 * LANES) {
      subtract_three_wide(removals, stride, pending, first + i, line, begin);
    }
    for (; begin < columns; begin += LANES) subtract_three_narrow(removals, stride, pending, first + i, line, begin);
  }
  for (; i < count; i++) {
    double *line = rows + i * stride;
    for (begin = 0; begin + 4 * LANES <= columns; begin += 4 * LANES) {
      subtract_wide(removals, stride, pending, first + i, line, begin);
    }
    for (; begin < columns; begin += LANES) subtract_narrow(removals, stride, pending, first + i, line, begin);
  }
}

// The rows of block `chosen` of the inverse Hessian, with the pending removals done.
static void current_rows(elimination_row *row, int64_t chosen, double *rows) {
  int64_t block = row->block, first = chosen * block, stride = row->stride;
  for (int64_t i = 0; i < block; i++) {
    memcpy(
      rows + i * stride, row->matrix + (first + i) * row->matrix_stride, (size_t)(first + i + 1) * sizeof(double));
  }
  for (int64_t column = first; column < row->columns; column++) {
    const double *line = row->matrix + column * row->matrix_stride + first;
    for (int64_t i = 0; i < block && first + i < column; i++) rows[i * stride + column] = line[i];
  }
  subtract_pending(row->removals, stride, row->pending, first, block, rows, row->columns);
}

// Divides the rows by the Cholesky factor of their own block, in place, one row after the other; gives the loss.
static bool normalise(elimination_row *row, int64_t chosen, double *rows, double *loss) {
  int64_t block = row->block, first = chosen * block, stride = row->stride, columns = row->columns;
  *loss = 0;
  for (int64_t i = 0; i < block; i++) {
    double *line = rows + i * stride;
    for (int64_t k = 0; k < i; k++) subtract_scaled(line, rows + k * stride, rows[k * stride + first + i], columns);
    double pivot = line[first + i];
    if (!(pivot > 0)) return false;
    scale(line, 1 / sqrt(pivot), columns);
    // The weight as the removals of the rows before left it.
    double step = row->weights[first + i] / line[first + i];
    *loss += step * step / 2;
    subtract_scaled(row->weights, line, step, columns);
    row->weights[first + i] = 0;
  }
  return true;
}

CATENA_VECTORISED
static void subtract_squares(const double *transposed, int64_t block, int64_t planes, int64_t count, double *diagonal) {
  for (int64_t i = 0; i < block; i++) {
    for (int64_t j = 0; j <= i; j++) {
      double *plane = diagonal + (i * block + j) * planes;
      for (int64_t q = 0; q < count; q += LANES) {
        double sum[LANES];
        for (int64_t l = 0; l < LANES; l++) sum[l] = plane[q + l];
        for (int64_t k = 0; k < block; k++) {
          const double *line = transposed + k * block * planes + q;
          for (int64_t l = 0; l < LANES; l++) sum[l] -= line[i * planes + l] * line[j * planes + l];
        }
        for (int64_t l = 0; l < LANES; l++) plane[q + l] = sum[l];
      }
    }
  }
}

static void update_diagonal(elimination_row *row, const double *rows) {
  int64_t block = row->block, planes = row->planes;
  if (block == 1) {
    subtract_product(row->diagonal, rows, rows, row->columns);
    return;
  }
  for (int64_t k = 0; k < block; k++) {
    const double *line = rows + k * row->stride;
    for (int64_t i = 0; i < block; i++) {
      double *plane = row->transposed + (k * block + i) * planes;
      for (int64_t q = 0; q < row->blocks; q++) plane[q] = line[q * block + i];
      // Lanes without a block stay as they are.
      for (int64_t q = row->blocks; q < padded(row->blocks); q++) plane[q] = 0;
    }
  }
  subtract_squares(row->transposed, block, planes, row->blocks, row->diagonal);
}

// The runs of blocks that are not removed.
static int64_t find_kept(elimination_row *row) {
  int64_t runs = 0;
  for (int64_t q = 0; q < row->blocks; q++) {
    if (row->removed[q] != 0) continue;
    if (runs > 0 && row->kept[runs - 1].end == q) row->kept[runs - 1].end = q + 1;
    else row->kept[runs++] = (block_run){q, q + 1};
  }
  return runs;
}

// Moves what is kept of the first `limit` blocks of a line to its beginning, `size` elements a block; gives their number.
CATENA_INLINE int64_t keep(
  const block_run *kept, int64_t runs, int64_t limit, int64_t size, const double *from, double *to
) {
  int64_t next = 0;
  for (int64_t r = 0; r < runs && kept[r].begin < limit; r++) {
    int64_t count = (catena_minimum(kept[r].end, limit) - kept[r].begin) * size;
    memmove(to + next, from + kept[r].begin * size, (size_t)count * sizeof(double));
    next += count;
  }
  return next / size;
}

// Leaves out what is removed, and does the pending removals to the rest.
static void compact(elimination_row *row) {
  int64_t block = row->block, stride = row->stride, blocks = row->blocks, runs = find_kept(row), kept = 0;
  for (int64_t r = 0; r < runs; r++) {
    for (int64_t q = row->kept[r].begin; q < row->kept[r].end; q++, kept++) {
      row->ids[kept] = row->ids[q];
      for (int64_t i = 0; i < block; i++) {
        keep(
          row->kept, runs, q + 1, block, row->matrix + (q * block + i) * row->matrix_stride,
          row->compacted + (kept * block + i) * stride);
      }
    }
  }
  row->matrix = row->compacted;
  row->matrix_stride = stride;
  keep(row->kept, runs, blocks, block, row->weights, row->weights);
  for (int64_t p = 0; p < row->pending; p++) {
    keep(row->kept, runs, blocks, block, row->removals + p * stride, row->removals + p * stride);
  }
  for (int64_t q = 0; q < padded(blocks); q++) row->removed[q] = q < kept ? 0 : INFINITY;
  for (int64_t i = 0; i < block; i++) {
    for (int64_t j = 0; j < block; j++) {
      double *plane = row->diagonal + (i * block + j) * row->planes;
      keep(row->kept, runs, blocks, 1, plane, plane);
      for (int64_t q = kept; q < padded(blocks); q++) plane[q] = i == j;
    }
  }
  row->blocks = kept;
  row->columns = kept * block;
  if (kept > 0) {
    cblas_dsyrk(
      CblasRowMajor, CblasLower, CblasTrans, (int)row->columns, (int)row->pending, -1, row->removals, (int)stride, 1,
      row->compacted, (int)stride);
  }
  row->pending = 0;
}

static bool eliminate_row(
  elimination_row *row, const catena_elimination *p, int64_t index, double *losses, int32_t *order
) {
  int64_t late = late_removals(p->block), steps = p->columns / p->block;
  begin_row(row, p, index);
  for (int64_t step = 0; step < steps; step++) {
    if (row->pending + p->block > late) compact(row);
    score_blocks(row);
    int64_t chosen = smallest_score(row);
    double *rows = row->removals + row->pending * row->stride;
    current_rows(row, chosen, rows);
    if (!normalise(row, chosen, rows, &losses[step])) return false;
    order[step] = row->ids[chosen];
    row->removed[chosen] = INFINITY;
    row->pending += p->block;
    update_diagonal(row, rows);
  }
  return true;
}

// MARK: All rows

typedef struct {
  const catena_elimination *problem;
  double *losses;
  int32_t *order;
  double *scratch;
  const bool *is_cancelled;
  const int64_t *counts;
  double *weights;
  atomic_int_fast64_t next;
  atomic_bool has_failed;
} elimination_run;

static void eliminate_rows(void *data) {
  elimination_run *run = data;
  const catena_elimination *p = run->problem;
  int64_t steps = p->columns / p->block;
  elimination_row row = row_memory(p, run->scratch + omp_get_thread_num() * row_doubles(p->columns, p->block));
  for (;;) {
    int64_t index = atomic_fetch_add(&run->next, 1);
    if (index >= p->rows || atomic_load(&run->has_failed) || *(const volatile bool *)run->is_cancelled) return;
    if (!eliminate_row(&row, p, index, run->losses + index * steps, run->order + index * steps)) {
      atomic_store(&run->has_failed, true);
    }
  }
}

bool catena_eliminate(
  const catena_elimination *problem, double *losses, int32_t *order, void *scratch, const bool *is_cancelled
) {
  elimination_run run = {
    .problem = problem, .losses = losses, .order = order, .scratch = scratch, .is_cancelled = is_cancelled};
  GOMP_parallel(eliminate_rows, &run, 0, 0);
  return !atomic_load(&run.has_failed);
}

void catena_spend_budget(const double *losses, int64_t rows, int64_t steps, int64_t budget, int64_t *counts) {
  memset(counts, 0, (size_t)rows * sizeof(int64_t));
  int64_t count = rows * steps;
  if (budget <= 0 || count == 0) return;
  double *order = malloc((size_t)count * sizeof(double));
  memcpy(order, losses, (size_t)count * sizeof(double));
  double threshold = catena_select_double(order, count, budget - 1);
  free(order);
  int64_t ties = budget;
  for (int64_t i = 0; i < count; i++) ties -= losses[i] < threshold;
  for (int64_t i = 0; i < count; i++) {
    bool isSpent = losses[i] < threshold || (losses[i] == threshold && ties-- > 0);
    counts[i / steps] += isSpent;
  }
}

// MARK: Weights of a row without a set of columns

static int ascending(const void *left, const void *right) {
  int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
  return (a > b) - (a < b);
}

// The optimum is the same whether it is written with the removed columns and the inverse or with the kept ones and the
// Hessian: the smaller system is solved.
static bool restore_row(
  const catena_elimination *p, const int32_t *order, int64_t count, const double *weights, double *result,
  double *memory
) {
  int64_t block = p->block, columns = p->columns, blocks = columns / block;
  int64_t removedCount = count * block, keptCount = columns - removedCount;
  memcpy(result, weights, (size_t)columns * sizeof(double));
  if (count == 0) return true;
  bool solvesRemoved = removedCount <= keptCount;
  int64_t size = solvesRemoved ? removedCount : keptCount;
  double *system = memory, *right = memory + size * size;
  int32_t *ids = (int32_t *)(right + columns);
  int32_t *removed = ids, *kept = ids + removedCount;
  // Blocks first, in ascending order; then their columns in place, the last first.
  int32_t *chosen = kept + keptCount;
  memcpy(chosen, order, (size_t)count * sizeof(int32_t));
  qsort(chosen, (size_t)count, sizeof(int32_t), ascending);
  int64_t nextRemoved = 0, nextKept = 0, next = 0;
  for (int64_t q = 0; q < blocks; q++) {
    bool isRemoved = next < count && chosen[next] == q;
    next += isRemoved;
    for (int64_t i = 0; i < block; i++) {
      if (isRemoved) removed[nextRemoved++] = (int32_t)(q * block + i);
      else kept[nextKept++] = (int32_t)(q * block + i);
    }
  }
  const int32_t *members = solvesRemoved ? removed : kept;
  const double *source = solvesRemoved ? p->inverse : p->hessian;
  for (int64_t i = 0; i < size; i++) {
    const double *line = source + members[i] * columns;
    for (int64_t j = 0; j <= i; j++) system[i * size + j] = line[members[j]];
    double sum = 0;
    if (solvesRemoved) sum = weights[members[i]];
    else for (int64_t j = 0; j < removedCount; j++) sum += line[removed[j]] * weights[removed[j]];
    right[i] = sum;
  }
  for (int64_t i = 0; i < removedCount; i++) result[removed[i]] = 0;
  if (size == 0) return true;
  int n = (int)size, one = 1, info = 0;
  dpotrf_("U", &n, system, &n, &info);
  if (info != 0) return false;
  dpotrs_("U", &n, &one, system, &n, right, &n, &info);
  for (int64_t i = 0; i < keptCount; i++) {
    int64_t column = kept[i];
    if (!solvesRemoved) {
      result[column] += right[i];
      continue;
    }
    const double *line = p->inverse + column * columns;
    double sum = 0;
    for (int64_t j = 0; j < removedCount; j++) sum += line[removed[j]] * right[j];
    result[column] -= sum;
  }
  return true;
}

static void restore_rows(void *data) {
  elimination_run *run = data;
  const catena_elimination *p = run->problem;
  int64_t steps = p->columns / p->block;
  double *memory = run->scratch + omp_get_thread_num() * row_doubles(p->columns, p->block);
  for (;;) {
    int64_t index = atomic_fetch_add(&run->next, 1);
    if (index >= p->rows || atomic_load(&run->has_failed)) return;
    bool isDone = restore_row(
      p, run->order + index * steps, run->counts[index], p->weights + index * p->columns,
      run->weights + index * p->columns, memory);
    if (!isDone) atomic_store(&run->has_failed, true);
  }
}

bool catena_restore_rows(
  const catena_elimination *problem, const int32_t *order, const int64_t *counts, double *weights, void *scratch
) {
  elimination_run run = {
    .problem = problem, .order = (int32_t *)order, .scratch = scratch, .counts = counts, .weights = weights};
  GOMP_parallel(restore_rows, &run, 0, 0);
  return !atomic_load(&run.has_failed);
}
