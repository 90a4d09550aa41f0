// The Hessian of a layer's inputs: products of every pair of columns of its im2col matrix. REAL is float for the fast
// solver and double for the exact one; matrices are row-major, one behind the other for the groups of a convolution.

#ifdef REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#define REAL double
#else
#define REAL float
#endif

// Windows as columns: patches[group][channel * taps + tap][position] of some consecutive positions (image, row, column
// of the output) of channels-last images.
kernel WORK_GROUP void layer_patches(
    const global float *data, global float *patches,
    const int4 source,      // height, width, channels of all groups, channels of one group
    const int4 window,      // height, width of the kernel; height, width of the output
    const int8 geometry,    // strides, dilations, pads: height, width each; 0, 0
    const int2 positions) { // first, count
  const int item = get_global_id(0);
  const int place = item % positions.s1;
  int column = item / positions.s1;
  const int taps = window.s0 * window.s1;
  if (column >= source.s2 * taps) return;
  int position = positions.s0 + place;
  const int out_column = position % window.s3;
  position /= window.s3;
  const int out_row = position % window.s2;
  const int image = position / window.s2;
  const int tap = column % taps;
  const int channel = column / taps;
  const int row = out_row * geometry.s0 + tap / window.s1 * geometry.s2 - geometry.s4;
  const int pixel = out_column * geometry.s1 + tap % window.s1 * geometry.s3 - geometry.s5;
  const bool is_inside = row >= 0 && row < source.s0 && pixel >= 0 && pixel < source.s1;
  patches[item] = is_inside ? data[((image * source.s0 + row) * source.s1 + pixel) * source.s2 + channel] : 0.0f;
}

// hessian += patches patches^T. One work-item owns a 4 x 4 block of the lower triangle and mirrors it.
kernel WORK_GROUP void hessian_add(const global float *patches, global REAL *hessian, const int4 extents) {
  // extents: groups, columns, positions, 0
  const int columns = extents.s1;
  const int blocks = divide_up(columns, 4);
  int item = get_global_id(0);
  const int first_column = (item % blocks) * 4;
  item /= blocks;
  const int first_row = (item % blocks) * 4;
  const int group = item / blocks;
  if (group >= extents.s0 || first_column > first_row) return;
  const global float *left[4];
  const global float *right[4];
  for (int i = 0; i < 4; ++i) {
    left[i] = patches + (group * columns + min(first_row + i, columns - 1)) * extents.s2;
    right[i] = patches + (group * columns + min(first_column + i, columns - 1)) * extents.s2;
  }
  REAL sums[4][4];
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) sums[i][j] = 0;
  }
  for (int position = 0; position < extents.s2; ++position) {
    for (int i = 0; i < 4; ++i) {
      for (int j = 0; j < 4; ++j) sums[i][j] += (REAL)left[i][position] * (REAL)right[j][position];
    }
  }
  global REAL *matrix = hessian + (size_t)group * columns * columns;
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      const int row = first_row + i;
      const int column = first_column + j;
      if (row >= columns || column > row) continue;
      const REAL sum = matrix[(size_t)row * columns + column] + sums[i][j];
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
