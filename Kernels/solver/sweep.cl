// The fast solver's sweep over the columns of a layer: in each group of columns the entries with the smallest scores are
// removed, and what they did is passed on to the columns behind, within a block at once and behind it later. All groups
// of a convolution go at the same time. `factor` is U, upper triangular with inverse(H) = transpose(U) U.
// No kernel with a barrier returns early: not every driver keeps work-items apart behind that.
#ifndef REAL_IS_DOUBLE

// (w / U_jj)^2 of a group of columns: scores[row][i].
kernel WORK_GROUP void sweep_scores(
    const global float *weights, const global float *factor, global float *scores,
    const int4 extents, // groups, rows, columns, width of a group of columns
    const int first) {
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1 * extents.s3) return;
  const int row = item / extents.s3;
  const int column = first + item % extents.s3;
  const size_t matrix = (size_t)(row / extents.s1) * extents.s2 * extents.s2;
  const float ratio = weights[(size_t)row * extents.s2 + column] / factor[matrix + (size_t)column * extents.s2 + column];
  scores[item] = ratio * ratio;
}

// The score up to which entries go, and the last entry (in order of rows) of those that are equal to it; one work-group
// per group of the convolution. The k-th smallest is found by its bits, eight at a time: scores are not negative.
kernel WORK_GROUP void sweep_select(
    const global float *scores, global float *thresholds, global int *last_ties,
    const int4 extents) { // entries, entries to remove, whether ties go too, 0
  local uint histogram[256];
  local uint state[2];
  local int counts[GROUP_SIZE];
  const int item = get_local_id(0);
  const int group = get_group_id(0);
  const int entries = extents.s0;
  const global float *own = scores + (size_t)group * entries;
  if (item == 0) {
    state[0] = 0;
    // Nothing to remove leaves the threshold below every score.
    state[1] = extents.s2 ? min(extents.s1, entries - 1) : max(extents.s1 - 1, 0);
  }
  uint mask = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int digit = item; digit < 256; digit += GROUP_SIZE) histogram[digit] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint prefix = state[0];
    for (int entry = item; entry < entries; entry += GROUP_SIZE) {
      const uint bits = as_uint(own[entry]);
      if ((bits & mask) == prefix) atomic_inc(&histogram[(bits >> shift) & 255]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item == 0) {
      uint digit = 0;
      while (digit < 255 && histogram[digit] <= state[1]) state[1] -= histogram[digit++];
      state[0] = prefix | digit << shift;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    mask |= 255u << shift;
  }
  const float threshold = as_float(state[0]);
  // state[1] entries that are equal come before the last that goes.
  const int share = divide_up(entries, GROUP_SIZE);
  const int begin = min(item * share, entries);
  const int end = min(begin + share, entries);
  int equal = 0;
  for (int entry = begin; entry < end; ++entry) equal += own[entry] == threshold;
  counts[item] = equal;
  barrier(CLK_LOCAL_MEM_FENCE);
  if (item == 0) {
    int left = state[1];
    int part = 0;
    while (part < GROUP_SIZE - 1 && left >= counts[part]) left -= counts[part++];
    int last = min(part * share, entries);
    while (last < entries - 1 && (own[last] != threshold || left-- > 0)) ++last;
    const bool is_nothing = extents.s1 == 0 && !extents.s2;
    thresholds[group] = is_nothing ? -1.0f : threshold;
    last_ties[group] = extents.s2 ? entries - 1 : last;
  }
}

// Removes the chosen entries of one row, one column after the other; one work-group per row.
kernel WORK_GROUP void sweep_prune(
    global float *weights, const global float *factor, const global float *scores, const global float *thresholds,
    const global int *last_ties, global float *errors, global float *losses,
    const int4 extents, // rows, columns, width of a group of columns, columns of a late block
    const int4 place) { // first column, begin and end of the late block, 0
  const int item = get_local_id(0);
  const int row = get_group_id(0);
  const int columns = extents.s1;
  const int width = extents.s2;
  const int group = row / extents.s0;
  const global float *matrix = factor + (size_t)group * columns * columns;
  global float *own = weights + (size_t)row * columns;
  for (int i = 0; i < width; ++i) {
    const int column = place.s0 + i;
    const int entry = row % extents.s0 * width + i;
    const float score = scores[(size_t)row * width + i];
    const bool is_pruned =
        score < thresholds[group] || (score == thresholds[group] && entry <= last_ties[group]);
    const global float *line = matrix + (size_t)column * columns;
    const float error = is_pruned ? own[column] / line[column] : 0.0f;
    // All have read the weight before it changes.
    barrier(CLK_GLOBAL_MEM_FENCE);
    if (is_pruned) {
      for (int other = column + 1 + item; other < place.s2; other += GROUP_SIZE) own[other] -= error * line[other];
    }
    if (item == 0) {
      errors[(size_t)row * extents.s3 + column - place.s1] = error;
      if (is_pruned) {
        own[column] = 0.0f;
        losses[row] += error * error / 2;
      }
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
  }
}

// What a late block passes on to the columns behind it; one work-item owns 4 rows of one column.
kernel WORK_GROUP void sweep_update(
    global float *weights, const global float *factor, const global float *errors,
    const int4 extents, // groups, rows, columns, columns of a late block
    const int4 place) { // 0, begin and end of the late block, 0
  const int columns = extents.s2;
  const int rest = columns - place.s2;
  const int blocks = divide_up(extents.s1, 4);
  int item = get_global_id(0);
  const int column = place.s2 + item % rest;
  item /= rest;
  const int first = (item % blocks) * 4;
  const int group = item / blocks;
  if (group >= extents.s0) return;
  const int rows = min(4, extents.s1 - first);
  const global float *matrix = factor + (size_t)group * columns * columns + (size_t)place.s1 * columns + column;
  const global float *own = errors + ((size_t)group * extents.s1 + first) * extents.s3;
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  for (int k = 0; k < place.s2 - place.s1; ++k) {
    const float value = matrix[(size_t)k * columns];
    for (int row = 0; row < 4; ++row) sums[row] += own[(row < rows ? row : 0) * extents.s3 + k] * value;
  }
  for (int row = 0; row < rows; ++row) weights[((size_t)group * extents.s1 + first + row) * columns + column] -= sums[row];
}

#endif
