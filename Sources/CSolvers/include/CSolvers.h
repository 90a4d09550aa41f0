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
  // The indices of the cells to add, in the order in which they are shared out: the largest first.
  const int32_t *order;
  int64_t order_count;
  // Cells of a group.
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

// Part of an image: every `row_step`-th row and every `column_step`-th column.
typedef struct {
  int64_t first_row, row_step, rows, first_column, column_step, columns;
} catena_plane;
// Correlations of whole planes at some distances, R_pq(d)[i][j] = sum over positions r of x_p,i(r) x_q,j(r + d) where both
// are inside, through their discrete Fourier transforms: conjugate(X_p,i) X_q,j is the transform of R_pq[i][j].
typedef struct {
  int64_t height, width, groups;
  // Channels of one group, a multiple of 16.
  int64_t channels;
  const catena_plane *planes;
  int64_t plane_count;
  // Points of the transforms along the rows' and the columns' numbers: at least the extent of the largest plane and the
  // largest distance, from catena_transform_size.
  int64_t size[2];
  // Distances, 0 first, then increasing.
  const int64_t *row_lags, *column_lags;
  int64_t row_lag_count, column_lag_count;
  // For the pair of planes p >= q in the order p (p + 1) / 2 + q, for every row lag y, for every column lag 0, x, -x, ...:
  // the cells of R_pq(y, x) and of R_pq(-y, -x), or -1. Where p = q both are one cell, whose squares of 16 channels above
  // the diagonal are kept transposed; of distance 0 the second is -1 and the lower triangle counts.
  const int32_t *targets;
  // Cells of a group.
  int64_t cells;
  // Images whose spectra are held at once, rounded up to even numbers in every call that brings some.
  int64_t slots;
  // Whether all is f64, else f32.
  bool is_double;
} catena_correlation;
typedef struct catena_spectra catena_spectra;
// The next size from `least` on that has no prime factor above 5.
int64_t catena_transform_size(int64_t least);
// NULL when there is no memory.
catena_spectra *catena_make_spectra(const catena_correlation *problem);
void catena_free_spectra(catena_spectra *spectra);
// Bytes of the spectra of all slots, and of the scratch of either function below. Both are 64-byte aligned.
size_t catena_spectra_bytes(const catena_spectra *problem);
size_t catena_spectra_scratch_bytes(const catena_spectra *problem, int32_t threads);
// Writes the spectra of channels-last images into the slots from `slot` on; gives the next free one.
int64_t catena_transform_images(
  const catena_spectra *problem, const float *source, int64_t images, int64_t slot, void *spectra, void *scratch);
// sums[g][cell] += correlations of the images in the first `slots` slots.
void catena_add_correlations(
  const catena_spectra *problem, const void *spectra, int64_t slots, void *sums, void *scratch);
// Transposes the squares of 16 channels above the diagonal of a cell.
void catena_turn_squares(void *cell, int64_t channels, bool is_double);

// Sets is_live[c] where channel c is not zero somewhere in a part of the images; channels are a multiple of 16.
void catena_mark_live(
  const float *source, int64_t images, int64_t height, int64_t width, int64_t channels, const catena_plane *part,
  bool *is_live);

// blocks[t][u][c] += sum over positions of tap t times tap u of channel c, for t <= u, in f64: the Hessians of a
// depthwise convolution. Geometry: height, width.
typedef struct {
  int64_t images, channels;
  int64_t source[2], destination[2], kernel[2], strides[2], dilations[2], pads[2];
} catena_depthwise;
void catena_depthwise_hessian(const catena_depthwise *problem, const float *source, double *blocks);

// The Hessian of `taps` taps and `channels` channels, column (c, t), from products of pairs of taps: the block of taps
// (t, u) is the sum of cells `members[starts[t * taps + u] ..< starts[t * taps + u + 1]]`, each member 4 times a cell, and
// 1 more if it is transposed, 2 more if it is subtracted. Every element is multiplied by `scale`.
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
