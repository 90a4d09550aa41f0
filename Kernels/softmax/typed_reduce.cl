// Reductions of integers, and the places of extrema; one work-item owns one result.

kernel WORK_GROUP void integer_reduce(
    const global uchar *data, global uchar *result, const int kind, const int type, const int divisor,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int row_rank, const int8 row_extents, const int8 row_strides, const int2 counts) {  // results, elements
  const int item = get_global_id(0);
  if (item >= counts.s0) return;
  const int base = strided_offset(item, kept_rank, kept_extents, kept_strides);
  long total = kind == REDUCE_MAXIMUM ? LONG_MIN : kind == REDUCE_MINIMUM ? LONG_MAX : kind == REDUCE_PRODUCT;
  for (int i = 0; i < counts.s1; ++i) {
    const long value = load_integer(data, type, base + strided_offset(i, row_rank, row_extents, row_strides));
    switch (kind) {
      case REDUCE_MAXIMUM: total = max(total, value); break;
      case REDUCE_MINIMUM: total = min(total, value); break;
      case REDUCE_PRODUCT: total = (ulong)total * (ulong)value; break;
      default: total = (ulong)total + (ulong)value;
    }
  }
  store_integer(total / divisor, result, type, item);
}

// Of equal elements the first or, with `selects_last`, the last.
kernel WORK_GROUP void arg_reduce(
    const global uchar *data, global long *result, const int type, const int finds_maximum, const int selects_last,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int4 row) {  // results, elements, stride, 0
  const int item = get_global_id(0);
  if (item >= row.s0) return;
  const int base = strided_offset(item, kept_rank, kept_extents, kept_strides);
  int best = 0;
  for (int i = 1; i < row.s1; ++i) {
    bool is_better, is_equal;
    if (is_integer(type)) {
      const long candidate = load_integer(data, type, base + i * row.s2);
      const long current = load_integer(data, type, base + best * row.s2);
      is_better = finds_maximum ? candidate > current : candidate < current;
      is_equal = candidate == current;
    } else {
      const float candidate = load_real(data, type, base + i * row.s2);
      const float current = load_real(data, type, base + best * row.s2);
      is_better = finds_maximum ? candidate > current : candidate < current;
      is_equal = candidate == current;
    }
    if (is_better || (selects_last && is_equal)) best = i;
  }
  result[item] = best;
}
