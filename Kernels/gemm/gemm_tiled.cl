// The product of gemm.cl by tiles in local memory.
#ifdef MWG

kernel TILE_WORK_GROUP void matrix_multiply_tiled(
    const global float *left, const global float *right,
    const int4 extents,  // batches, rows, columns, inner
    const int8 strides,  // left: row, inner; right: inner, column; others of gemm.cl
    const int batch_rank, const int8 batch_extents, const int8 left_batch, const int8 right_batch, const float alpha,
    EPILOGUE_PARAMETERS) {
  DECLARE_TILES;
  const int item = get_local_id(0);
  const int column_tiles = divide_up(extents.s2, NWG);
  const int row_tiles = divide_up(extents.s1, MWG);
  int tile = get_group_id(0);
  const int first_column = (tile % column_tiles) * NWG;
  tile /= column_tiles;
  const int first_row = (tile % row_tiles) * MWG;
  const int batch = tile / row_tiles;
  if (batch >= extents.s0) return;
  const global float *a = left + strided_offset(batch, batch_rank, batch_extents, left_batch);
  const global float *b = right + strided_offset(batch, batch_rank, batch_extents, right_batch);

  floatv sums[MWI][VECTORS];
#pragma unroll
  for (int i = 0; i < MWI; ++i) {
#pragma unroll
    for (int vector = 0; vector < VECTORS; ++vector) sums[i][vector] = (floatv)(0.0f);
  }
  for (int first = 0; first < extents.s3; first += KWG) {
    // Neighbours read along the axis that is contiguous in memory.
    for (int element = item; element < KWG * MWG; element += TILE_GROUP) {
      const int k = strides.s1 == 1 ? element % KWG : element / MWG;
      const int row = strides.s1 == 1 ? element / KWG : element % MWG;
      const bool is_inside = first_row + row < extents.s1 && first + k < extents.s3;
      left_tile[k * LEFT_STRIDE + row] = is_inside ? a[(first_row + row) * strides.s0 + (first + k) * strides.s1] : 0.0f;
    }
    for (int element = item; element < KWG * NWG; element += TILE_GROUP) {
      const int k = strides.s3 == 1 ? element / NWG : element % KWG;
      const int column = strides.s3 == 1 ? element % NWG : element / KWG;
      const bool is_inside = first_column + column < extents.s2 && first + k < extents.s3;
      right_tile[k * NWG + column] =
          is_inside ? b[(first + k) * strides.s2 + (first_column + column) * strides.s3] : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    // Beyond the end are zeros: once in a whole product that costs less than a second loop's registers.
    multiply_tiles(left_vectors, right_vectors, item, KWG, sums);
    barrier(CLK_LOCAL_MEM_FENCE);
  }

  RESULTS_OF(sums);
#pragma unroll 1
  for (int i = 0; i < MWI; ++i) {
    const int row = first_row + tile_row(item, i);
#pragma unroll 1
    for (int vector = 0; vector < VECTORS; ++vector) {
      const int column = first_column + tile_column(item, vector);
      if (row < extents.s1 && column < extents.s2) {
        epilogue(
            alpha * results[i * VECTORS + vector], batch * extents.s1 + row, column, extents.s2, min(LANES, extents.s2 - column),
            EPILOGUE_ARGUMENTS);
      }
    }
  }
}

#endif
