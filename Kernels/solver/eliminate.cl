// The exact solver's greedy elimination: from every row the block of columns with the smallest loss is removed again and
// again. One work-group per row, which has an inverse Hessian of its own.
#ifdef REAL_IS_DOUBLE

// w^T inverse(D) w of a block, by the Cholesky factor of its diagonal block, which goes to `factor`.
inline double block_score(
    const global double *matrix, const global double *weights, global double *factor, int first, int block, int columns) {
  double score = 0;
  for (int i = 0; i < block; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = matrix[(size_t)(first + i) * columns + first + j];
      for (int k = 0; k < j; ++k) sum -= factor[i * (block + 1) + k] * factor[j * (block + 1) + k];
      factor[i * (block + 1) + j] = j < i ? sum / factor[j * (block + 1) + j] : sqrt(sum);
    }
    double sum = weights[first + i];
    // The solved part lies behind the factor's rows.
    for (int k = 0; k < i; ++k) sum -= factor[i * (block + 1) + k] * factor[k * (block + 1) + block];
    sum /= factor[i * (block + 1) + i];
    factor[i * (block + 1) + block] = sum;
    score += sum * sum;
  }
  return score;
}

// Begins with the inverse Hessian of a group of the convolution in every row; one work-item owns one element.
kernel WORK_GROUP void eliminate_begin(
    const global double *inverses, global double *matrices,
    const int2 extents, // rows, columns
    const int group) {
  const int count = extents.s1 * extents.s1;
  const int item = get_global_id(0);
  if (item >= count) return;
  const double value = inverses[(size_t)group * count + item];
  for (int row = 0; row < extents.s0; ++row) matrices[(size_t)row * count + item] = value;
}

// Removals first..<end of every row: chosen by their scores, or, where `counts` are given, the first counts[row] of
// `order` again.
kernel WORK_GROUP void eliminate_steps(
    global double *matrices, global double *weights, global double *scratch, global int *removed, global int *order,
    global double *losses, const global int *counts, global int *failures,
    const int4 extents) { // columns, block, first step, end
  local double best_scores[GROUP_SIZE];
  local int best_blocks[GROUP_SIZE];
  const int item = get_local_id(0);
  const int row = get_group_id(0);
  const int columns = extents.s0;
  const int block = extents.s1;
  const int blocks = columns / block;
  global double *matrix = matrices + (size_t)row * columns * columns;
  global double *own = weights + (size_t)row * columns;
  // A factor for every block, then a row of the matrix.
  global double *factors = scratch + (size_t)row * (columns * (block + 1) + columns);
  global double *line = factors + columns * (block + 1);
  const int end = counts ? min(extents.s3, counts[row]) : extents.s3;
  for (int step = extents.s2; step < end; ++step) {
    int chosen;
    if (counts) {
      chosen = order[(size_t)row * blocks + step];
    } else {
      double best = INFINITY;
      int place = -1;
      for (int q = item; q < blocks; q += GROUP_SIZE) {
        if (removed[(size_t)row * blocks + q]) continue;
        const double score = block_score(matrix, own, factors + (size_t)q * block * (block + 1), q * block, block, columns);
        if (place < 0 || score < best) {
          best = score;
          place = q;
        }
      }
      best_scores[item] = best;
      best_blocks[item] = place;
      barrier(CLK_LOCAL_MEM_FENCE);
      best = best_scores[0];
      place = best_blocks[0];
      for (int other = 1; other < GROUP_SIZE; ++other) {
        const int q = best_blocks[other];
        if (q < 0) continue;
        const double score = best_scores[other];
        if (place < 0 || score < best || (score == best && q < place)) {
          best = score;
          place = q;
        }
      }
      chosen = place;
    }
    double loss = 0;
    for (int i = 0; i < block; ++i) {
      const int p = chosen * block + i;
      const double found = matrix[(size_t)p * columns + p];
      const double weight = own[p];
      // Everything is read before anything changes.
      for (int column = item; column < columns; column += GROUP_SIZE) line[column] = matrix[(size_t)p * columns + column];
      barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
      const bool is_positive = found > 0;
      const double pivot = is_positive ? found : 1;
      if (!is_positive && item == 0) failures[0] = 1;
      loss += weight * weight / pivot / 2;
      // What is removed stays exactly 0, whatever rounding leaves in its columns.
      for (int column = item; column < columns; column += GROUP_SIZE) {
        const bool is_gone = removed[(size_t)row * blocks + column / block] || (column >= chosen * block && column <= p);
        own[column] = is_gone ? 0 : own[column] - line[column] * (weight / pivot);
      }
      for (int a = 0; a < columns; ++a) {
        if (removed[(size_t)row * blocks + a / block]) continue;
        const double factor = line[a] / pivot;
        for (int column = item; column < columns; column += GROUP_SIZE)
          matrix[(size_t)a * columns + column] -= factor * line[column];
      }
      barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
    }
    if (item == 0) {
      removed[(size_t)row * blocks + chosen] = 1;
      if (!counts) {
        order[(size_t)row * blocks + step] = chosen;
        losses[(size_t)row * blocks + step] = loss;
      }
    }
    barrier(CLK_GLOBAL_MEM_FENCE | CLK_LOCAL_MEM_FENCE);
  }
}

#endif
