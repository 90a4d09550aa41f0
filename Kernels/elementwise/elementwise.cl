// Element-wise operators. A chain of them over operands of one shape and layout is one epilogue on what is loaded.

// The value is seen as rows x columns; one work-item owns STEP columns of a row.
kernel WORK_GROUP void pointwise(
    const global float *data,
    const int2 extents,  // rows, columns
    EPILOGUE_PARAMETERS) {
  const int parts = divide_up(extents.s1, STEP);
  const int item = get_global_id(0);
  const int row = item / parts;
  const int first = (item % parts) * STEP;
  if (row >= extents.s0) return;
  const int last = min(first + STEP, extents.s1);
#if BLOCKS > 1
  if (last == first + STEP) {
    floatv values[BLOCKS];
#pragma unroll
    for (int i = 0; i < BLOCKS; ++i) values[i] = load_lanes(data + row * extents.s1 + first + i * LANES, LANES);
    epilogue_of_blocks(values, row, first, extents.s1, EPILOGUE_ARGUMENTS);
    return;
  }
#endif
  for (int column = first; column < last; column += LANES) {
    const int lanes = min(LANES, extents.s1 - column);
    const floatv value = load_lanes(data + row * extents.s1 + column, lanes);
    inlined_epilogue(value, row, column, extents.s1, lanes, EPILOGUE_ARGUMENTS);
  }
}

// Two operands broadcast against each other. The innermost axis is walked in steps of LANES.
kernel WORK_GROUP void binary_broadcast(
    const global float *left, const global float *right, global float *result, const int function,
    const int rank, const int outer_count, const int8 extents, const int8 left_strides, const int8 right_strides,
    const int4 innermost) {  // extent, left stride, right stride, 0
  const int blocks = divide_up(innermost.s0, LANES);
  const int item = get_global_id(0);
  const int outer = item / blocks;
  const int column = (item % blocks) * LANES;
  if (outer >= outer_count) return;
  const int lanes = min(LANES, innermost.s0 - column);
  const global float *x = left + strided_offset(outer, rank, extents, left_strides) + column * innermost.s1;
  const global float *y = right + strided_offset(outer, rank, extents, right_strides) + column * innermost.s2;
  const floatv value = binary_function(
      function, gather_lanes(x, lanes, innermost.s1), gather_lanes(y, lanes, innermost.s2));
  store_lanes(value, result + outer * innermost.s0 + column, lanes);
}
