// Moving 4-byte elements: layout conversion, transposition, slices, padding, concatenation, splitting and repetition
// are all copies between two strided views.

// One work-item owns RUN consecutive positions of the innermost axis.
kernel WORK_GROUP void strided_copy(
    const global float *source, global float *target, const int rank, const int outer_count, const int8 extents,
    const int8 source_strides, const int8 target_strides,
    const int4 innermost,  // extent, source stride, target stride, 0
    const int2 offsets) {  // source, target
  const int runs = divide_up(innermost.s0, RUN);
  const int item = get_global_id(0);
  const int outer = item / runs;
  if (outer >= outer_count) return;
  const int begin = (item % runs) * RUN;
  const int end = min(begin + RUN, innermost.s0);
  const global float *from = source + offsets.s0 + strided_offset(outer, rank, extents, source_strides);
  global float *to = target + offsets.s1 + strided_offset(outer, rank, extents, target_strides);
  for (int i = begin; i < end; ++i) to[i * innermost.s2] = from[i * innermost.s1];
}

kernel WORK_GROUP void fill(global float *target, const int count, const float value) {
  const int begin = get_global_id(0) * RUN;
  const int end = min(begin + RUN, count);
  for (int i = begin; i < end; ++i) target[i] = value;
}

// Data are outer x extent x inner; `indices` says which of the extent each result takes and is within bounds.
kernel WORK_GROUP void gather(
    const global float *data, const global int *indices, global float *result,
    const int4 extents) {  // outer, extent, inner, indices
  const int item = get_global_id(0);
  const int i = item % extents.s2;
  const int position = (item / extents.s2) % extents.s3;
  const int outer = item / (extents.s2 * extents.s3);
  if (outer >= extents.s0) return;
  result[item] = data[(outer * extents.s1 + indices[position]) * extents.s2 + i];
}

// Each element of the data sums, in order, the gradients of those results that took it.
kernel WORK_GROUP void gather_gradient(
    const global float *gradient, const global int *indices, global float *result,
    const int4 extents) {  // outer, extent, inner, indices
  const int item = get_global_id(0);
  const int i = item % extents.s2;
  const int element = (item / extents.s2) % extents.s1;
  const int outer = item / (extents.s2 * extents.s1);
  if (outer >= extents.s0) return;
  float sum = 0.0f;
  for (int position = 0; position < extents.s3; ++position) {
    if (indices[position] == element) sum += gradient[(outer * extents.s3 + position) * extents.s2 + i];
  }
  result[item] = sum;
}
