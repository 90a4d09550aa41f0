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

inline floatv reduction_step_lanes(int kind, floatv x, floatv y) {
  switch (kind) {
    case REDUCE_MAXIMUM: return isnan(x) || x > y ? x : y;
    case REDUCE_MINIMUM: return isnan(x) || x < y ? x : y;
    case REDUCE_PRODUCT: return x * y;
    default: return x + y;
  }
}

// Data are outer x rows x columns, of which the rows are reduced; one work-item owns LANES columns of a part of the rows.
// Partial results are outer x part x column.
kernel WORK_GROUP void reduce_rows(
    const global float *data, global float *result, const int kind, const float scale,
    const int4 extents,  // outer, rows, columns, 0
    const int2 parts) {  // parts, rows per part
  const int blocks = divide_up(extents.s2, LANES);
  int item = get_global_id(0);
  const int column = (item % blocks) * LANES;
  item /= blocks;
  const int part = item % parts.s0;
  const int outer = item / parts.s0;
  if (outer >= extents.s0) return;
  const int lanes = min(LANES, extents.s2 - column);
  const int end = min((part + 1) * parts.s1, extents.s1);
  const global float *from = data + outer * extents.s1 * extents.s2 + column;
  floatv total = (floatv)(reduction_start(kind));
  // Sums of sums: a long running sum in float would lose what a mean needs.
  for (int row = part * parts.s1; row < end;) {
    const int stop = min(row + 64, end);
    floatv some = (floatv)(reduction_start(kind));
    for (; row < stop; ++row) some = reduction_step_lanes(kind, some, load_lanes(from + row * extents.s2, lanes));
    total = reduction_step_lanes(kind, total, some);
  }
  store_lanes(total * scale, result + (outer * parts.s0 + part) * extents.s2 + column, lanes);
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
    if (innermost.s1 == 1 && stop - i >= LANES) {
      floatv lanes = (floatv)(row);
      for (; i + LANES <= stop; i += LANES) lanes = reduction_step_lanes(kind, lanes, load_lanes(from + base + i, LANES));
      float values[LANES];
      JOIN(vstore, LANES)(lanes, 0, values);
      for (int lane = 0; lane < LANES; ++lane) row = reduction_step(kind, row, values[lane]);
    }
    for (; i < stop; ++i) row = reduction_step(kind, row, from[base + i * innermost.s1]);
    total = reduction_step(kind, total, row);
  }
  result[item] = total * scale;
}

#ifdef MWG

// The same where few results would leave most of a device idle: a work-group owns a part of one result's elements, which
// lie together, and its work-items read side by side.
kernel WORK_GROUP void reduce_by_group(
    const global float *data, global float *result, const int kind, const float scale,
    const int kept_rank, const int8 kept_extents, const int8 kept_strides,
    const int count,       // elements per result
    const int2 parts) {    // parts, elements per part
  local float shares[GROUP_SIZE];
  const int item = get_local_id(0);
  const int part = (int)get_group_id(0) % parts.s0;
  const int kept = (int)get_group_id(0) / parts.s0;
  const global float *from = data + strided_offset(kept, kept_rank, kept_extents, kept_strides);
  const int end = min((part + 1) * parts.s1, count);
  floatv totals = (floatv)(reduction_start(kind));
  int i = part * parts.s1 + item * LANES;
  for (; i + LANES <= end; i += GROUP_SIZE * LANES)
    totals = reduction_step_lanes(kind, totals, load_lanes(from + i, LANES));
  float values[LANES];
  JOIN(vstore, LANES)(totals, 0, values);
  float total = values[0];
#pragma unroll
  for (int lane = 1; lane < LANES; ++lane) total = reduction_step(kind, total, values[lane]);
  // One work-item has come upon the end.
  for (; i < end; ++i) total = reduction_step(kind, total, from[i]);
  shares[item] = total;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size) shares[item] = reduction_step(kind, shares[item], shares[item + half_size]);
  }
  if (item == 0) result[get_group_id(0)] = shares[0] * scale;
}

// Rows of outer x rows x columns, which a first launch has made few: a work-group owns LANES columns.
kernel WORK_GROUP void reduce_rows_by_group(
    const global float *data, global float *result, const int kind, const float scale,
    const int4 extents) {  // outer, rows, columns, 0
  local floatv shares[GROUP_SIZE];
  const int item = get_local_id(0);
  const int blocks = divide_up(extents.s2, LANES);
  const int column = (int)get_group_id(0) % blocks * LANES;
  const int outer = (int)get_group_id(0) / blocks;
  const int lanes = min(LANES, extents.s2 - column);
  const global float *from = data + outer * extents.s1 * extents.s2 + column;
  floatv total = (floatv)(reduction_start(kind));
  for (int row = item; row < extents.s1; row += GROUP_SIZE)
    total = reduction_step_lanes(kind, total, load_lanes(from + row * extents.s2, lanes));
  shares[item] = total;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size) shares[item] = reduction_step_lanes(kind, shares[item], shares[item + half_size]);
  }
  if (item == 0) store_lanes(shares[0] * scale, result + outer * extents.s2 + column, lanes);
}

#endif
