// Softmax over any axes together, and its logarithm; one work-item owns one row. Data and result have one layout.

// A contiguous row, LANES elements at a time.
inline void softmax_row(const global float *data, global float *result, int is_logarithm, int count) {
  floatv extrema = (floatv)(-INFINITY);
  int i = 0;
  for (; i + LANES <= count; i += LANES) extrema = fmax(extrema, load_lanes(data + i, LANES));
  float values[LANES];
  JOIN(vstore, LANES)(extrema, 0, values);
  float largest = -INFINITY;
  for (int lane = 0; lane < LANES; ++lane) largest = fmax(largest, values[lane]);
  for (; i < count; ++i) largest = fmax(largest, data[i]);

  // Exponentials cost most: softmax keeps those of the sum in the result.
  floatv sums = (floatv)(0.0f);
  for (i = 0; i + LANES <= count; i += LANES) {
    const floatv share = exp(load_lanes(data + i, LANES) - largest);
    sums += share;
    if (!is_logarithm) store_lanes(share, result + i, LANES);
  }
  float sum = sum_of_lanes(sums);
  for (; i < count; ++i) {
    const float share = exp(data[i] - largest);
    sum += share;
    if (!is_logarithm) result[i] = share;
  }

  if (is_logarithm) {
    const float log_sum = log(sum);
    for (i = 0; i < count; i += LANES) {
      const int lanes = min(LANES, count - i);
      store_lanes(load_lanes(data + i, lanes) - largest - log_sum, result + i, lanes);
    }
  } else {
    for (i = 0; i < count; i += LANES) {
      const int lanes = min(LANES, count - i);
      store_lanes(load_lanes(result + i, lanes) / sum, result + i, lanes);
    }
  }
}

kernel WORK_GROUP void softmax(
    const global float *data, global float *result, const int is_logarithm,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int row_rank, const int8 row_extents, const int8 row_strides,
    const int2 counts) {  // rows, elements per row
  const int kept = get_global_id(0);
  if (kept >= counts.s0) return;
  const int base = strided_offset(kept, kept_rank, kept_extents, kept_strides);
  if (row_rank == 1 && row_strides.s0 == 1) {
    softmax_row(data + base, result + base, is_logarithm, counts.s1);
    return;
  }
  float largest = -INFINITY;
  for (int i = 0; i < counts.s1; ++i)
    largest = fmax(largest, data[base + strided_offset(i, row_rank, row_extents, row_strides)]);
  float sum = 0.0f;
  for (int i = 0; i < counts.s1; ++i)
    sum += exp(data[base + strided_offset(i, row_rank, row_extents, row_strides)] - largest);
  const float log_sum = log(sum);
  for (int i = 0; i < counts.s1; ++i) {
    const int index = base + strided_offset(i, row_rank, row_extents, row_strides);
    const float x = data[index] - largest;
    result[index] = is_logarithm ? x - log_sum : exp(x) / sum;
  }
}

#ifdef MWG

// Contiguous rows, one behind the other, where there are too few to keep a device busy: a work-group owns one row.
kernel WORK_GROUP void softmax_by_group(
    const global float *data, global float *result, const int is_logarithm, const int count) {
  local float shares[GROUP_SIZE];
  const int item = get_local_id(0);
  const global float *from = data + (int)get_group_id(0) * count;
  global float *to = result + (int)get_group_id(0) * count;
  float largest = -INFINITY;
  for (int i = item; i < count; i += GROUP_SIZE) largest = fmax(largest, from[i]);
  shares[item] = largest;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size) shares[item] = fmax(shares[item], shares[item + half_size]);
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  largest = shares[0];
  // All have read it before it changes.
  barrier(CLK_LOCAL_MEM_FENCE);

  float sum = 0.0f;
  for (int i = item; i < count; i += GROUP_SIZE) {
    const float share = exp(from[i] - largest);
    sum += share;
    if (!is_logarithm) to[i] = share;
  }
  shares[item] = sum;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size) shares[item] += shares[item + half_size];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  sum = shares[0];
  const float log_sum = log(sum);
  // Each work-item reads what it wrote itself.
  for (int i = item; i < count; i += GROUP_SIZE) to[i] = is_logarithm ? from[i] - largest - log_sum : to[i] / sum;
}

#endif
