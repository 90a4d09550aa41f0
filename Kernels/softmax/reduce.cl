// Sums and extrema over any axes. One work-item owns a part of one result's elements; several parts are combined by a
// second launch, in a fixed order.

inline float reduction_start(int kind) {
  switch (kind) {
    case REDUCE_MAXIMUM: return -INFINITY;
    case REDUCE_MINIMUM: return INFINITY;
    case REDUCE_PRODUCT: return 1.0f;
    default: return 0.0f;
  }
}

inline float reduction_step(int kind, float x, float y) {
  switch (kind) {
    case REDUCE_MAXIMUM: return isnan(x) || x > y ? x : y;
    case REDUCE_MINIMUM: return isnan(x) || x < y ? x : y;
    case REDUCE_PRODUCT: return x * y;
    default: return x + y;
  }
}

kernel WORK_GROUP void reduce(
    const global float *data, global float *result, const int kind, const float scale,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int outer_rank, const int8 outer_extents, const int8 outer_strides,
    const int4 innermost,  // extent, stride, results, elements per result
    const int2 parts) {    // parts, elements per part
  const int item = get_global_id(0);
  const int part = item % parts.s0;
  const int kept = item / parts.s0;
  if (kept >= innermost.s2) return;
  const global float *from = data + strided_offset(kept, kept_rank, kept_extents, kept_strides);
  const int end = min((part + 1) * parts.s1, innermost.s3);
  float total = reduction_start(kind);
  for (int position = part * parts.s1; position < end;) {
    const int base = strided_offset(position / innermost.s0, outer_rank, outer_extents, outer_strides);
    int i = position % innermost.s0;
    const int stop = min(innermost.s0, i + end - position);
    position += stop - i;
    float row = reduction_start(kind);
    for (; i < stop; ++i) row = reduction_step(kind, row, from[base + i * innermost.s1]);
    total = reduction_step(kind, total, row);
  }
  result[item] = total * scale;
}
