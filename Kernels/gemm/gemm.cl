// alpha * A B for matrices of any strides, batched; a work-item owns PIXELS rows and LANES columns. A constant B lies as
// column block x inner x lane, lanes beyond the last column are 0: then a step of the inner axis is one of LANES.

kernel WORK_GROUP void matrix_multiply(
    const global float *left, const global float *right,
    const int4 extents,  // batches, rows, columns, inner
    const int8 strides,  // left: row, inner; right: inner, column, LANES columns; 0, 0, 0
    const int batch_rank, const int8 batch_extents, const int8 left_batch, const int8 right_batch, const float alpha,
    EPILOGUE_PARAMETERS) {
  const int row_blocks = divide_up(extents.s1, PIXELS);
  const int column_blocks = divide_up(extents.s2, LANES);
  int item = get_global_id(0);
  const int first_row = (item % row_blocks) * PIXELS;
  item /= row_blocks;
  const int column = (item % column_blocks) * LANES;
  const int batch = item / column_blocks;
  if (batch >= extents.s0) return;
  const int rows = min(PIXELS, extents.s1 - first_row);
  const int lanes = min(LANES, extents.s2 - column);
  const global float *a =
      left + strided_offset(batch, batch_rank, batch_extents, left_batch) + first_row * strides.s0;
  const global float *b =
      right + strided_offset(batch, batch_rank, batch_extents, right_batch) + column / LANES * strides.s4;

  floatv sums[PIXELS];
#pragma unroll
  for (int row = 0; row < PIXELS; ++row) sums[row] = (floatv)(0.0f);
  // Only columns that lie so, or that are LANES in all, are LANES apart.
  const int loaded = strides.s2 == LANES && strides.s3 == 1 ? LANES : lanes;
  if (loaded == LANES && strides.s3 == 1) {
    if (rows == PIXELS) {
      add_products(sums, a, strides.s0, strides.s1, b, strides.s2, extents.s3);
    } else {
      int offsets[PIXELS];
#pragma unroll
      for (int row = 0; row < PIXELS; ++row) offsets[row] = min(row, rows - 1) * strides.s0;
      add_products_at(sums, a, offsets, strides.s1, b, strides.s2, extents.s3);
    }
  } else {
    for (int k = 0; k < extents.s3; ++k) {
      const floatv factor = strides.s3 == 1 ? load_lanes(b, loaded) : gather_lanes(b, loaded, strides.s3);
#pragma unroll
      for (int row = 0; row < PIXELS; ++row) sums[row] += a[min(row, rows - 1) * strides.s0] * factor;
      a += strides.s1;
      b += strides.s2;
    }
  }

#pragma unroll
  for (int row = 0; row < PIXELS; ++row) {
    if (row < rows) {
      epilogue(
          alpha * sums[row], batch * extents.s1 + first_row + row, column, extents.s2, lanes,
          EPILOGUE_ARGUMENTS);
    }
  }
}
