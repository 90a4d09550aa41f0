// The Hessian of a layer's inputs: products of every pair of columns of its im2col matrix. REAL is float for the fast
// solver and double for the exact one; matrices are row-major, one behind the other for the groups of a convolution.

#ifdef REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define REAL double
#else
#define REAL float
#endif

#define realv JOIN(REAL, LANES)
#define convert_realv JOIN(JOIN(convert_, REAL), LANES)

// Windows as rows: patches[group][position][channel * taps + tap] of some consecutive positions (image, row, column of
// the output) of channels-last images. Rows are filled up with 0 to whole vectors, so that every vector is aligned. One
// work-item owns RUN floats of a row.
kernel WORK_GROUP void layer_patches(
    const global float *data, global float *patches,
    const int4 source,     // height, width, channels of all groups, channels of one group
    const int4 window,     // height, width of the kernel; height, width of the output
    const int8 geometry,   // strides, dilations, pads: height, width each; 0, 0
    const int4 extents) {  // groups, first position, positions, floats of a row
  const int runs = divide_up(extents.s3, RUN);
  int item = get_global_id(0);
  const int first = (item % runs) * RUN;
  item /= runs;
  const int group = item / extents.s2;
  if (group >= extents.s0) return;
  global float *target = patches + item * extents.s3;
  int position = extents.s1 + item % extents.s2;
  const int out_column = position % window.s3;
  position /= window.s3;
  const int out_row = position % window.s2;
  const global float *from = data + position / window.s2 * source.s0 * source.s1 * source.s2 + group * source.s3;
  const int taps = window.s0 * window.s1;
  int channel = first / taps;
  int tap_row = first % taps / window.s1;
  int tap_column = first % window.s1;
  for (int column = first; column < min(first + RUN, extents.s3); ++column) {
    const int row = out_row * geometry.s0 + tap_row * geometry.s2 - geometry.s4;
    const int pixel = out_column * geometry.s1 + tap_column * geometry.s3 - geometry.s5;
    const bool is_inside = channel < source.s3 && row >= 0 && row < source.s0 && pixel >= 0 && pixel < source.s1;
    target[column] = is_inside ? from[(row * source.s1 + pixel) * source.s2 + channel] : 0.0f;
    if (++tap_column < window.s1) continue;
    tap_column = 0;
    if (++tap_row < window.s0) continue;
    tap_row = 0;
    ++channel;
  }
}

// hessian += transpose(patches) patches. One work-item owns 4 rows x LANES columns of the lower triangle and mirrors
// them; neighbours read neighbouring columns.
kernel WORK_GROUP void hessian_add(
    const global float *patches, global REAL *hessian,
    const int4 extents) {  // groups, columns, positions, floats of a row of patches
  const int columns = extents.s1;
  const int across = divide_up(columns, LANES);
  const int down = divide_up(columns, 4);
  int item = get_global_id(0);
  const int first_column = (item % across) * LANES;
  item /= across;
  const int first_row = (item % down) * 4;
  const int group = item / down;
  if (group >= extents.s0 || first_column > first_row + 3) return;
  const global float *from = patches + (size_t)group * extents.s2 * extents.s3;
  realv sums[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) sums[i] = (realv)(0);
  for (int position = 0; position < extents.s2; ++position) {
    const float4 left = *(const global float4 *)(from + first_row);
    const realv right = convert_realv(*(const global floatv *)(from + first_column));
    sums[0] += (REAL)left.s0 * right;
    sums[1] += (REAL)left.s1 * right;
    sums[2] += (REAL)left.s2 * right;
    sums[3] += (REAL)left.s3 * right;
    from += extents.s3;
  }
  global REAL *matrix = hessian + (size_t)group * columns * columns;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    REAL values[LANES];
    JOIN(vstore, LANES)(sums[i], 0, values);
    for (int lane = 0; lane < LANES; ++lane) {
      const int row = first_row + i;
      const int column = first_column + lane;
      if (row >= columns || column > row) continue;
      const REAL sum = matrix[(size_t)row * columns + column] + values[lane];
      matrix[(size_t)row * columns + column] = sum;
      matrix[(size_t)column * columns + row] = sum;
    }
  }
}

// The diagonal of the Hessian of `images` images, H = 2 / images * sums.
kernel WORK_GROUP void hessian_diagonal(
    const global REAL *sums, global REAL *diagonal, const int4 extents) {  // groups, columns, images, 0
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1) return;
  const size_t columns = extents.s1;
  const int column = item % extents.s1;
  diagonal[item] = sums[(item / extents.s1) * columns * columns + column * columns + column] * 2 / extents.s2;
}

// The Hessian to factorise: dead columns get a 1, every group its damping. Columns are taken in `order`; a reversed matrix
// begins at its end.
kernel WORK_GROUP void hessian_damped(
    const global REAL *sums, global REAL *matrix, const global REAL *damping, const global int *order,
    const int4 extents, const int is_reversed) {  // groups, columns, images, 0
  const int columns = extents.s1;
  const int item = get_global_id(0);
  const int count = columns * columns;
  const int group = item / count;
  if (group >= extents.s0) return;
  const int row = item % count / columns;
  const int column = item % columns;
  REAL value = sums[(size_t)group * count + (size_t)order[row] * columns + order[column]] * 2 / extents.s2;
  if (row == column) value = (value == 0 ? 1 : value) + damping[group];
  const int place = row * columns + column;
  matrix[(size_t)group * count + (is_reversed ? count - 1 - place : place)] = value;
}
