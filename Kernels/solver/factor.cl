// Cholesky factors of a batch of matrices, in place in the lower triangle, by blocks of FACTOR_BLOCK columns, and the
// inverses of the factors.

#define FACTOR_BLOCK 32

// Factorises the block at `first` on the diagonal, one work-group per matrix. A pivot that is not positive is noted and
// taken as 1, so that what follows stays finite.
kernel WORK_GROUP void cholesky_block(global REAL *matrices, global int *failures, const int2 extents, const int first) {
  // extents: matrices, columns
  local REAL block[FACTOR_BLOCK][FACTOR_BLOCK + 1];
  const int item = get_local_id(0);
  const int columns = extents.s1;
  const int width = min(FACTOR_BLOCK, columns - first);
  global REAL *matrix = matrices + (size_t)get_group_id(0) * columns * columns + (size_t)first * columns + first;
  for (int row = item; row < width; row += GROUP_SIZE) {
    for (int column = 0; column <= row; ++column) block[row][column] = matrix[(size_t)row * columns + column];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int k = 0; k < width; ++k) {
    if (item == 0) {
      const bool is_positive = block[k][k] > 0;
      if (!is_positive) failures[get_group_id(0)] = 1;
      block[k][k] = is_positive ? sqrt(block[k][k]) : 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int row = k + 1 + item; row < width; row += GROUP_SIZE) block[row][k] /= block[k][k];
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int row = k + 1 + item; row < width; row += GROUP_SIZE) {
      for (int column = k + 1; column <= row; ++column) block[row][column] -= block[row][k] * block[column][k];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
  }
  for (int row = item; row < width; row += GROUP_SIZE) {
    for (int column = 0; column <= row; ++column) matrix[(size_t)row * columns + column] = block[row][column];
  }
}

// The rows below the block, each divided by it; one work-item owns one row.
kernel WORK_GROUP void cholesky_panel(global REAL *matrices, const int2 extents, const int first) {
  const int columns = extents.s1;
  const int width = min(FACTOR_BLOCK, columns - first);
  const int below = columns - first - width;
  const int item = get_global_id(0);
  if (item >= extents.s0 * below) return;
  global REAL *matrix = matrices + (size_t)(item / below) * columns * columns + first;
  global REAL *line = matrix + (size_t)(first + width + item % below) * columns;
  for (int k = 0; k < width; ++k) {
    const global REAL *other = matrix + (size_t)(first + k) * columns;
    REAL value = line[k];
    for (int j = 0; j < k; ++j) value -= line[j] * other[j];
    line[k] = value / other[k];
  }
}

// What the block's columns take from everything behind them; one work-item owns one element of the lower triangle.
kernel WORK_GROUP void cholesky_update(global REAL *matrices, const int2 extents, const int first) {
  const int columns = extents.s1;
  const int behind = first + FACTOR_BLOCK;
  const int rest = columns - behind;
  const int item = get_global_id(0);
  const int matrix_index = item / (rest * rest);
  if (matrix_index >= extents.s0) return;
  const int row = behind + item % (rest * rest) / rest;
  const int column = behind + item % rest;
  if (column > row) return;
  global REAL *matrix = matrices + (size_t)matrix_index * columns * columns;
  const global REAL *left = matrix + (size_t)row * columns + first;
  const global REAL *right = matrix + (size_t)column * columns + first;
  REAL sum = 0;
  for (int k = 0; k < FACTOR_BLOCK; ++k) sum += left[k] * right[k];
  matrix[(size_t)row * columns + column] -= sum;
}

// Some rows of the inverse of every factor, those before them being there; one work-item owns one column, neighbours
// neighbouring ones. Zeros above the diagonal.
kernel WORK_GROUP void triangular_inverse(
    const global REAL *factors, global REAL *inverses, const int2 extents, const int2 rows) {
  const int columns = extents.s1;
  const int item = get_global_id(0);
  if (item >= extents.s0 * columns) return;
  const int own = item % columns;
  const size_t start = (size_t)(item / columns) * columns * columns;
  const global REAL *factor = factors + start;
  global REAL *inverse = inverses + start + own;
  for (int row = rows.s0; row < rows.s1; ++row) {
    REAL sum = row == own ? 1 : 0;
    for (int k = own; k < row; ++k) sum -= factor[(size_t)row * columns + k] * inverse[(size_t)k * columns];
    inverse[(size_t)row * columns] = row < own ? 0 : sum / factor[(size_t)row * columns + row];
  }
}

// The same elements from the last to the first.
kernel WORK_GROUP void reversed_matrices(const global REAL *source, global REAL *target, const int2 extents) {
  const int count = extents.s1 * extents.s1;
  const int item = get_global_id(0);
  if (item >= extents.s0 * count) return;
  const int matrix = item / count;
  target[(size_t)matrix * count + count - 1 - item % count] = source[item];
}

// transpose(inverse) * inverse: the inverse of what was factorised, from element `first` on.
kernel WORK_GROUP void inverse_product(
    const global REAL *inverses, global REAL *products, const int2 extents, const int first) {
  const int columns = extents.s1;
  const int count = columns * columns;
  const int item = first + get_global_id(0);
  if (item >= extents.s0 * count) return;
  const global REAL *inverse = inverses + (size_t)(item / count) * count;
  const int row = item % count / columns;
  const int column = item % columns;
  REAL sum = 0;
  for (int k = max(row, column); k < columns; ++k)
    sum += inverse[(size_t)k * columns + row] * inverse[(size_t)k * columns + column];
  products[item] = sum;
}
