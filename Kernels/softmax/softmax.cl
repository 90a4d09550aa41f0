// Softmax over any axes together, and its logarithm; one work-item owns one row. Data and result have one layout.

kernel WORK_GROUP void softmax(
    const global float *data, global float *result, const int is_logarithm,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int row_rank, const int8 row_extents, const int8 row_strides,
    const int2 counts) {  // rows, elements per row
  const int kept = get_global_id(0);
  if (kept >= counts.s0) return;
  const int base = strided_offset(kept, kept_rank, kept_extents, kept_strides);
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
