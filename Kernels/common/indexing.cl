// Positions in tensors of any rank up to 8, whatever their layout: extents and strides of `rank` axes, the last axis
// innermost. Strides are in elements; 0 repeats, negative walks backwards.

inline int strided_offset(int index, int rank, int8 extents, int8 strides) {
  int extent[8];
  int stride[8];
  vstore8(extents, 0, extent);
  vstore8(strides, 0, stride);
  int offset = 0;
  for (int axis = rank - 1; axis >= 0; --axis) {
    offset += (index % extent[axis]) * stride[axis];
    index /= extent[axis];
  }
  return offset;
}
