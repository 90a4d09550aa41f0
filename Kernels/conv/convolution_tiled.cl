// The convolution of convolution.cl as a product by tiles in local memory: output positions x (taps x input channels) x
// output channels. The weight is packed as group x panel x taps x input channel x column of NWG, filled up with 0.
//
// Positions are taken in phases: those of one phase lie `divisor` apart along every axis and read the same taps, so a
// work-group skips a tap that its phase does not read.
#ifdef MWG

// Where along one axis the positions of a phase read with a tap begin, or INT_MIN when they do not.
inline int phase_offset(int phase, int tap, int4 mapping) {
  const int position = phase * mapping.s0 + tap * mapping.s1 + mapping.s2;
  return position % mapping.s3 == 0 ? position / mapping.s3 : INT_MIN;
}

// Each work-item loads one vector of channels of some rows; neighbours load neighbouring vectors of a row.
#define ITEMS_PER_ROW (KWG / LANES)
#define ROWS_PER_PASS (TILE_GROUP / ITEMS_PER_ROW)
#define ROWS_PER_ITEM (MWG / ROWS_PER_PASS)

kernel TILE_WORK_GROUP void convolution_tiled(CONVOLUTION_PARAMETERS, EPILOGUE_PARAMETERS) {
  DECLARE_TILES;
  const int item = get_local_id(0);
  const int groups = input.s4;
  const int group_inputs = input.s3 / groups;
  const int group_outputs = output.s4 / groups;
  // The extents of one phase.
  const int depth = divide_up(output.s1, deep.s3);
  const int height = divide_up(output.s2, across.s3);
  const int width = divide_up(output.s3, along.s3);
  const int rows = output.s0 * depth * height * width;
  const int row_tiles = divide_up(rows, MWG);
  const int column_tiles = divide_up(group_outputs, NWG);

  int tile = get_group_id(0);
  const int panel = tile % column_tiles;
  const int first_column = panel * NWG;
  tile /= column_tiles;
  const int first_row = (tile % row_tiles) * MWG;
  tile /= row_tiles;
  const int phase_column = tile % along.s3;
  tile /= along.s3;
  const int phase_row = tile % across.s3;
  tile /= across.s3;
  const int phase_plane = tile % deep.s3;
  const int group = tile / deep.s3;
  if (group >= groups) return;

  // The rows whose data this work-item loads: sample, plane, row, column within the phase; sample -1 beyond the end.
  int4 places[ROWS_PER_ITEM];
#pragma unroll
  for (int j = 0; j < ROWS_PER_ITEM; ++j) {
    int row = first_row + item / ITEMS_PER_ROW + j * ROWS_PER_PASS;
    const bool is_inside = row < rows;
    places[j].s3 = row % width;
    row /= width;
    places[j].s2 = row % height;
    row /= height;
    places[j].s1 = row % depth;
    places[j].s0 = is_inside ? row / depth : -1;
  }
  const int first_channel = item % ITEMS_PER_ROW * LANES;

  floatv sums[MWI][VECTORS];
#pragma unroll
  for (int i = 0; i < MWI; ++i) {
#pragma unroll
    for (int vector = 0; vector < VECTORS; ++vector) sums[i][vector] = (floatv)(0.0f);
  }
  for (int tap = 0; tap < taps.s0 * taps.s1 * taps.s2; ++tap) {
    const int plane_offset = phase_offset(phase_plane, tap / (taps.s1 * taps.s2), deep);
    const int row_offset = phase_offset(phase_row, tap / taps.s2 % taps.s1, across);
    const int column_offset = phase_offset(phase_column, tap % taps.s2, along);
    if (plane_offset == INT_MIN || row_offset == INT_MIN || column_offset == INT_MIN) continue;
    int bases[ROWS_PER_ITEM];
#pragma unroll
    for (int j = 0; j < ROWS_PER_ITEM; ++j) {
      const int plane = places[j].s1 * deep.s0 + plane_offset;
      const int row = places[j].s2 * across.s0 + row_offset;
      const int column = places[j].s3 * along.s0 + column_offset;
      const bool is_inside = places[j].s0 >= 0 && plane >= 0 && plane < input.s0 && row >= 0 && row < input.s1 &&
                             column >= 0 && column < input.s2;
      bases[j] = is_inside
                     ? (((places[j].s0 * input.s0 + plane) * input.s1 + row) * input.s2 + column) * input.s3 +
                           group * group_inputs
                     : -1;
    }
    // In vectors, which are aligned: the weight was packed into memory of its own.
    const int factors =
        ((group * column_tiles + panel) * taps.s0 * taps.s1 * taps.s2 + tap) * group_inputs * (NWG / LANES);
    for (int first = 0; first < group_inputs; first += KWG) {
      // Few input channels are less than a tile has steps, and again so with every tap.
      const int steps = min(KWG, group_inputs - first);
#pragma unroll
      for (int j = 0; j < ROWS_PER_ITEM; ++j) {
        const int lanes = min(LANES, group_inputs - first - first_channel);
        float values[LANES];
        JOIN(vstore, LANES)(
            bases[j] >= 0 && lanes > 0 ? load_lanes(data + bases[j] + first + first_channel, lanes)
                                       : (floatv)(0.0f),
            0, values);
#pragma unroll
        for (int lane = 0; lane < LANES; ++lane)
          left_tile[(first_channel + lane) * LEFT_STRIDE + item / ITEMS_PER_ROW + j * ROWS_PER_PASS] = values[lane];
      }
      for (int vector = item; vector < steps * (NWG / LANES); vector += TILE_GROUP)
        right_vectors[vector] = ((const global floatv *)weight)[factors + first * (NWG / LANES) + vector];
      barrier(CLK_LOCAL_MEM_FENCE);
      multiply_tiles(left_vectors, right_vectors, item, steps, sums);
      barrier(CLK_LOCAL_MEM_FENCE);
    }
  }

  RESULTS_OF(sums);
#pragma unroll 1
  for (int i = 0; i < MWI; ++i) {
    int row = first_row + tile_row(item, i);
    const bool is_inside = row < rows;
    const int out_column = row % width * along.s3 + phase_column;
    row /= width;
    const int out_row = row % height * across.s3 + phase_row;
    row /= height;
    const int out_plane = row % depth * deep.s3 + phase_plane;
    const int sample = row / depth;
    if (!is_inside || out_column >= output.s3 || out_row >= output.s2 || out_plane >= output.s1) continue;
    const int pixel = ((sample * output.s1 + out_plane) * output.s2 + out_row) * output.s3 + out_column;
#pragma unroll 1
    for (int vector = 0; vector < VECTORS; ++vector) {
      const int column = first_column + tile_column(item, vector);
      if (column < group_outputs) {
        const int lanes = min(LANES, group_outputs - column);
        const int channel = group * group_outputs + column;
        const floatv start = bias ? load_lanes(bias + channel, lanes) : (floatv)(0.0f);
        epilogue(results[i * VECTORS + vector] + start, pixel, channel, output.s4, lanes, EPILOGUE_ARGUMENTS);
      }
    }
  }
}

#endif
