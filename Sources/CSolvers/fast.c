// FastSPADE: a SparseGPT sweep over the columns with late updates in blocks.
#include "selection.h"

CATENA_SELECT(catena_select_float, float)

// MARK: Factor

typedef struct {
  float *values;
  int64_t count;
} reversal;

static void reverse_share(void *data) {
  const reversal *r = data;
  catena_range half = catena_share(r->count / 2);
  for (int64_t i = half.begin; i < half.end; i++) {
    float moved = r->values[i];
    r->values[i] = r->values[r->count - 1 - i];
    r->values[r->count - 1 - i] = moved;
  }
}

bool catena_upper_factor(float *hessian, int64_t columns) {
  // With the order of the columns reversed, H = L L^T gives inverse(L), and back in order inverse(L) is U: one
  // factorisation and one triangular inverse instead of an inverse between two factorisations. Reversing the order is
  // reversing the memory.
  reversal r = {hessian, columns * columns};
  int n = (int)columns, info = 0;
  catena_parallel(reverse_share, &r, r.count);
  spotrf_("U", &n, hessian, &n, &info);
  if (info != 0) return false;
  strtri_("U", "N", &n, hessian, &n, &info);
  if (info != 0) return false;
  catena_parallel(reverse_share, &r, r.count);
  return true;
}

// MARK: Sweep

// Columns between two matrix products with everything behind them.
enum { LATE_COLUMNS = 192 };

typedef struct {
  const catena_sweep *sweep;
  float *weights;
  const float *factor;
  // Scores of one group, and a copy to select from.
  float *scores, *order;
  // What the columns of a late block pass on: rows x late columns.
  float *errors;
  double *losses;
  int64_t late;
  // The block under way, the group to prune (begin == end: none) and the group to score.
  catena_range block, pruned, scored;
  float threshold;
  // Up to and including this entry, scores equal to the threshold are pruned.
  int64_t last_tie;
} sweep_state;

static int64_t late_columns(const catena_sweep *sweep) {
  int64_t groups = catena_maximum(1, LATE_COLUMNS / sweep->group);
  return catena_minimum(sweep->columns, groups * sweep->group);
}

int64_t catena_sweep_scratch_floats(const catena_sweep *sweep) {
  return 2 * sweep->rows * sweep->group + sweep->rows * late_columns(sweep) + 2 * sweep->rows;
}

CATENA_VECTORISED
static void subtract_scaled(float *row, const float *factor, float error, int64_t count) {
  for (int64_t i = 0; i < count; i++) row[i] -= error * factor[i];
}

static void prune_row(const sweep_state *s, int64_t row) {
  int64_t columns = s->sweep->columns, width = s->pruned.end - s->pruned.begin;
  float *weights = s->weights + row * columns;
  float *errors = s->errors + row * s->late - s->block.begin;
  double loss = 0;
  for (int64_t i = 0; i < width; i++) {
    int64_t entry = row * width + i, column = s->pruned.begin + i;
    float score = s->scores[entry];
    bool isPruned = score < s->threshold || (score == s->threshold && entry <= s->last_tie);
    if (!isPruned) {
      errors[column] = 0;
      continue;
    }
    const float *line = s->factor + column * columns;
    float error = weights[column] / line[column];
    loss += (double)error * (double)error / 2;
    errors[column] = error;
    weights[column] = 0;
    subtract_scaled(weights + column + 1, line + column + 1, error, s->block.end - column - 1);
  }
  s->losses[row] += loss;
}

static void score_row(const sweep_state *s, int64_t row) {
  int64_t columns = s->sweep->columns, width = s->scored.end - s->scored.begin;
  for (int64_t i = 0; i < width; i++) {
    int64_t column = s->scored.begin + i;
    float ratio = s->weights[row * columns + column] / s->factor[column * columns + column];
    s->scores[row * width + i] = ratio * ratio;
  }
}

static void advance_rows(void *data) {
  const sweep_state *s = data;
  catena_range rows = catena_share(s->sweep->rows);
  for (int64_t row = rows.begin; row < rows.end; row++) {
    if (s->pruned.begin < s->pruned.end) prune_row(s, row);
    if (s->scored.begin < s->scored.end) score_row(s, row);
  }
}

static void choose_threshold(sweep_state *s) {
  const catena_sweep *sweep = s->sweep;
  int64_t entries = sweep->rows * (s->scored.end - s->scored.begin);
  if (!sweep->includes_ties && sweep->count == 0) {
    s->threshold = -1;
    s->last_tie = -1;
    return;
  }
  memcpy(s->order, s->scores, (size_t)entries * sizeof(float));
  int64_t k = sweep->includes_ties ? catena_minimum(sweep->count, entries - 1) : sweep->count - 1;
  s->threshold = catena_select_float(s->order, entries, k);
  s->last_tie = entries - 1;
  if (sweep->includes_ties) return;
  int64_t ties = sweep->count;
  for (int64_t i = 0; i < entries; i++) ties -= s->scores[i] < s->threshold;
  for (int64_t i = 0; i < entries; i++) {
    if (s->scores[i] == s->threshold && --ties == 0) {
      s->last_tie = i;
      return;
    }
  }
}

double catena_sweep_columns(const catena_sweep *sweep, float *weights, const float *factor, float *scratch) {
  int64_t rows = sweep->rows, columns = sweep->columns, group = sweep->group;
  sweep_state s = {.sweep = sweep, .weights = weights, .factor = factor, .late = late_columns(sweep)};
  // Doubles first: they are what the scratch is aligned for.
  s.losses = (double *)scratch;
  s.scores = scratch + 2 * rows;
  s.order = s.scores + rows * group;
  s.errors = s.order + rows * group;
  memset(s.losses, 0, (size_t)rows * sizeof(double));
  for (int64_t begin = 0; begin < columns; begin += s.late) {
    s.block = (catena_range){begin, catena_minimum(begin + s.late, columns)};
    s.pruned = (catena_range){begin, begin};
    for (int64_t first = begin; first < s.block.end; first += group) {
      s.scored = (catena_range){first, first + group};
      catena_parallel(advance_rows, &s, rows * (s.block.end - first) * group / 2);
      choose_threshold(&s);
      s.pruned = s.scored;
    }
    s.scored = (catena_range){0, 0};
    catena_parallel(advance_rows, &s, rows * group * group);
    int64_t rest = columns - s.block.end;
    if (rest > 0) {
      cblas_sgemm(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)rows, (int)rest, (int)(s.block.end - begin), -1, s.errors,
        (int)s.late, factor + begin * columns + s.block.end, (int)columns, 1, weights + s.block.end, (int)columns);
    }
  }
  double loss = 0;
  for (int64_t row = 0; row < rows; row++) loss += s.losses[row];
  return loss;
}
