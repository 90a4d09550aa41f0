// Moving elements of 1, 2, 4 or 8 bytes: layout conversion, transposition, slices, padding, concatenation, splitting and
// repetition are all copies between two strided views.

// `word` is an unsigned type of `width` bytes.
#define MOVEMENT_KERNELS(word, width)                                                                               \
                                                                                                                    \
  /* One work-item owns RUN consecutive positions of the innermost axis. */                                         \
  kernel WORK_GROUP void strided_copy_##width(                                                                      \
      const global word *source, global word *target, const int rank, const int outer_count, const int8 extents,    \
      const int8 source_strides, const int8 target_strides,                                                         \
      const int4 innermost, /* extent, source stride, target stride, 0 */                                           \
      const int2 offsets) { /* source, target */                                                                    \
    const int runs = divide_up(innermost.s0, RUN);                                                                  \
    const int item = get_global_id(0);                                                                              \
    const int outer = item / runs;                                                                                  \
    if (outer >= outer_count) return;                                                                               \
    const int begin = (item % runs) * RUN;                                                                          \
    const int end = min(begin + RUN, innermost.s0);                                                                 \
    const global word *from = source + offsets.s0 + strided_offset(outer, rank, extents, source_strides);           \
    global word *to = target + offsets.s1 + strided_offset(outer, rank, extents, target_strides);                   \
    if (innermost.s1 == 1 && innermost.s2 == 1)                                                                     \
      for (int i = begin; i < end; ++i) to[i] = from[i];                                                            \
    else                                                                                                            \
      for (int i = begin; i < end; ++i) to[i * innermost.s2] = from[i * innermost.s1];                              \
  }                                                                                                                 \
                                                                                                                    \
  kernel WORK_GROUP void fill_##width(global word *target, const int count, const int2 bits) {                      \
    const int begin = get_global_id(0) * RUN;                                                                       \
    const int end = min(begin + RUN, count);                                                                        \
    const word value = (word)(((ulong)(uint)bits.s1 << 32) | (uint)bits.s0);                                        \
    for (int i = begin; i < end; ++i) target[i] = value;                                                            \
  }                                                                                                                 \
                                                                                                                    \
  /* Data are outer x extent x inner; `indices` says which of the extent each result takes, within bounds. */       \
  kernel WORK_GROUP void gather_##width(                                                                            \
      const global word *data, const global int *indices, global word *result,                                      \
      const int4 extents) { /* outer, extent, inner, indices */                                                     \
    const int item = get_global_id(0);                                                                              \
    const int i = item % extents.s2;                                                                                \
    const int position = (item / extents.s2) % extents.s3;                                                          \
    const int outer = item / (extents.s2 * extents.s3);                                                             \
    if (outer >= extents.s0) return;                                                                                \
    result[item] = data[(outer * extents.s1 + indices[position]) * extents.s2 + i];                                 \
  }

MOVEMENT_KERNELS(uchar, 1)
MOVEMENT_KERNELS(ushort, 2)
MOVEMENT_KERNELS(uint, 4)
MOVEMENT_KERNELS(ulong, 8)

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

// A sparse matrix along one axis: element r of the result's axis is the sum of weights * data over the entries
// rows[r] ..< rows[r + 1]. Resizing, its gradient, and the gradient of padding that repeats data.
kernel WORK_GROUP void axis_sum(
    const global float *data, const global int *rows, const global int *columns, const global float *weights,
    global float *result, const int4 extents) {  // outer, data extent, inner, result extent
  const int item = get_global_id(0);
  const int i = item % extents.s2;
  const int row = (item / extents.s2) % extents.s3;
  const int outer = item / (extents.s2 * extents.s3);
  if (outer >= extents.s0) return;
  float sum = 0.0f;
  for (int entry = rows[row]; entry < rows[row + 1]; ++entry)
    sum += weights[entry] * data[(outer * extents.s1 + columns[entry]) * extents.s2 + i];
  result[item] = sum;
}
