// alpha * A B + beta * C of integers, which wraps at the result's width; one work-item owns one result.
kernel WORK_GROUP void integer_product(
    const global uchar *left, const global uchar *right, const global uchar *summand, global uchar *result,
    const int4 extents,  // batches, rows, columns, inner
    const int4 strides,  // left: row, inner; right: inner, column
    const int batch_rank, const int8 batch_extents, const int8 left_batch, const int8 right_batch, const int type,
    const int4 scale) {  // alpha, beta; strides of the summand: row, column
  const int item = get_global_id(0);
  const int column = item % extents.s2;
  const int row = (item / extents.s2) % extents.s1;
  const int batch = item / (extents.s2 * extents.s1);
  if (batch >= extents.s0) return;
  const int a = strided_offset(batch, batch_rank, batch_extents, left_batch) + row * strides.s0;
  const int b = strided_offset(batch, batch_rank, batch_extents, right_batch) + column * strides.s3;
  ulong sum = 0;
  for (int k = 0; k < extents.s3; ++k) {
    sum += (ulong)load_integer(left, type, a + k * strides.s1) * (ulong)load_integer(right, type, b + k * strides.s2);
  }
  sum *= (long)scale.s0;
  if (summand)
    sum += (ulong)load_integer(summand, type, row * scale.s2 + column * scale.s3) * (ulong)(long)scale.s1;
  store_integer(sum, result, type, item);
}
