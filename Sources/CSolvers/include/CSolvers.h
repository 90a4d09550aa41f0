// The linear algebra of traces on the processor: Hessians of convolutions, the column sweep of the fast solver, the greedy
// elimination of the exact one. Matrices are row-major. Functions use the team of threads of the calling thread; the
// matrix products inside parallel loops run on one thread each.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: Hessians

// Gathers columns of channels-last images, rows outermost: destination[y][n][i][c] = source[n][y][first + i * step][c]
// for y in 0 ..< height, i in 0 ..< columns. The destination holds f64 when `is_double`, else f32.
void catena_pack_columns(
  const float *source, int64_t images, int64_t height, int64_t width, int64_t channels, int64_t first, int64_t step,
  int64_t columns, void *destination, bool is_double);

// Positions of an image, rows by columns, and the distance from each to its partner.
typedef struct {
  int64_t first_row, row_step, rows, row_distance, first_column, column_step, columns, column_distance;
} catena_cell;
typedef struct {
  int64_t images, height, width, groups;
  // Channels of one group.
  int64_t channels;
  const catena_cell *cells;
  // The cells' indices in the order in which they are shared out: the largest first.
  const int32_t *order;
  int64_t count;
  // Whether sums are f64, else f32.
  bool is_double;
} catena_cells;
// sums[g][k] += sum over images and the positions p of cell k of x(p) x(p + distance)^T, channels of group g, from
// channels-last images; of a symmetric one the lower triangle at least. Only where `catena_can_add_cells`.
bool catena_can_add_cells(int64_t channels, int64_t groups);
void catena_add_cells(const catena_cells *problem, const float *source, void *sums);

// target += sum over parts of left^T right: `size` columns of rows that are `stride` elements apart, `positions` rows in
// every part, `part_step` elements from one part to the next. f64 or f32; of a symmetric one the lower triangle.
typedef struct {
  const void *left, *right;
  int64_t positions, parts, part_step;
  void *target;
  bool is_symmetric;
} catena_product;
// Products with different targets, begun in the order of the indices `order`.
void catena_add_products(
  const catena_product *products, const int32_t *order, int64_t count, int64_t size, int64_t stride, bool is_double);

// blocks[t][u][c] += sum over positions of tap t times tap u of channel c, for t <= u, in f64: the Hessians of a
// depthwise convolution. Geometry: height, width.
typedef struct {
  int64_t images, channels;
  int64_t source[2], destination[2], kernel[2], strides[2], dilations[2], pads[2];
} catena_depthwise;
void catena_depthwise_hessian(const catena_depthwise *problem, const float *source, double *blocks);

// The Hessian of `taps` taps and `channels` channels, column (c, t), from products of pairs of taps: the block of taps
// (t, u) is the sum of cells `members[starts[t * taps + u] ..< starts[t * taps + u + 1]]`; a negative member ~k is cell k
// transposed. Every element is multiplied by `scale`.
void catena_assemble_hessian(
  const void *cells, bool is_double, int64_t channels, int64_t taps, const int32_t *starts, const int32_t *members,
  double scale, void *hessian);

// MARK: Fast solver

typedef struct {
  int64_t rows, columns;
  // Columns that are pruned together: the taps of a kernel.
  int64_t group;
  // Entries to prune in every group of `rows * group`.
  int64_t count;
  // Prunes every entry whose score is at most that of the entry behind the `count` smallest, as the published code does.
  bool includes_ties;
} catena_sweep;

// Replaces H by U, upper triangular with inverse(H) = transpose(U) U; below the diagonal anything is left. Returns false
// when H is not positive definite; H is destroyed then.
bool catena_upper_factor(float *hessian, int64_t columns);

// FastSPADE's sweep over `weights` (rows x columns), in place; `factor` is U. `scratch` holds
// catena_sweep_scratch_floats. Returns the loss.
int64_t catena_sweep_scratch_floats(const catena_sweep *sweep);
double catena_sweep_columns(const catena_sweep *sweep, float *weights, const float *factor, float *scratch);

// MARK: Exact solver

// Replaces the lower triangle of H by its Cholesky factor, and gives the smallest pivot over the largest; 0 when H is not
// positive definite.
double catena_cholesky(double *hessian, int64_t columns);
// Replaces a Cholesky factor by the inverse of the matrix, both triangles.
void catena_inverse_from_factor(double *factor, int64_t columns);

typedef struct {
  int64_t rows, columns;
  // Columns that are removed together.
  int64_t block;
  const double *hessian;
  const double *inverse;
  const double *weights;
} catena_elimination;

// Removes all blocks of every row, greedily. losses[r][k] and order[r][k] belong to the (k + 1)-th removal of row r.
// `scratch` holds catena_elimination_scratch_bytes for the threads of the calling thread. Returns false when a pivot was
// not positive. `*is_cancelled` is looked at between rows; once set, the rest of the rows is left out.
size_t catena_elimination_scratch_bytes(const catena_elimination *problem, int32_t threads);
bool catena_eliminate(
  const catena_elimination *problem, double *losses, int32_t *order, void *scratch, const bool *is_cancelled);

// Removals per row when the `budget` smallest of rows x steps losses are spent; equal losses in order of (row, step).
void catena_spend_budget(const double *losses, int64_t rows, int64_t steps, int64_t budget, int64_t *counts);

// Sets every row of `weights` to the optimum without its first counts[r] removals. The scratch is that of the
// elimination. Returns false when a factorisation failed.
bool catena_restore_rows(
  const catena_elimination *problem, const int32_t *order, const int64_t *counts, double *weights, void *scratch);
