// Elements of any type, for kernels that are not worth a variant per type: integers and bools as 64-bit integers,
// fractions as float. The codes come from the host's table (KernelFunctions.swift), integers first.

inline bool is_integer(int type) { return type < TYPE_FLOAT16; }

inline long load_integer(const global uchar *data, int type, int index) {
  switch (type) {
    case TYPE_INT8: return ((const global char *)data)[index];
    case TYPE_UINT16: return ((const global ushort *)data)[index];
    case TYPE_INT16: return ((const global short *)data)[index];
    case TYPE_UINT32: return ((const global uint *)data)[index];
    case TYPE_INT32: return ((const global int *)data)[index];
    case TYPE_INT64: return ((const global long *)data)[index];
    default: return data[index];
  }
}

// Wraps at the type's width; a bool is "not zero".
inline void store_integer(long value, global uchar *data, int type, int index) {
  switch (type) {
    case TYPE_BOOL: data[index] = value != 0; break;
    case TYPE_UINT8:
    case TYPE_INT8: data[index] = (uchar)value; break;
    case TYPE_UINT16:
    case TYPE_INT16: ((global ushort *)data)[index] = (ushort)value; break;
    case TYPE_UINT32:
    case TYPE_INT32: ((global uint *)data)[index] = (uint)value; break;
    default: ((global long *)data)[index] = value;
  }
}

inline float load_real(const global uchar *data, int type, int index) {
  switch (type) {
    case TYPE_FLOAT16: return vload_half(index, (const global half *)data);
    case TYPE_BFLOAT16: return as_float((uint)((const global ushort *)data)[index] << 16);
    default: return ((const global float *)data)[index];
  }
}

// To the nearest, ties to even.
inline ushort bfloat16_bits(float value) {
  const uint bits = as_uint(value);
  return isnan(value) ? (bits >> 16) | 0x40 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

inline void store_real(float value, global uchar *data, int type, int index) {
  switch (type) {
    case TYPE_FLOAT16: vstore_half_rte(value, index, (global half *)data); break;
    case TYPE_BFLOAT16: ((global ushort *)data)[index] = bfloat16_bits(value); break;
    default: ((global float *)data)[index] = value;
  }
}

#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable

inline double load_double(const global uchar *data, int type, int index) {
  return type == TYPE_FLOAT64 ? ((const global double *)data)[index] : load_real(data, type, index);
}

inline void store_double(double value, global uchar *data, int type, int index) {
  if (is_integer(type))
    store_integer(type == TYPE_BOOL ? value != 0.0 : convert_long_sat(value), data, type, index);
  else if (type == TYPE_FLOAT64)
    ((global double *)data)[index] = value;
  else
    store_real((float)value, data, type, index);
}
#endif

// One element as another type: fractions are cut off towards zero, integers wrap, a bool is "not zero". Where a device
// has no double, the host refuses the conversions that need it.
inline void convert_element(
    const global uchar *source, int source_type, int source_index, global uchar *target, int target_type,
    int target_index) {
  if (is_integer(source_type)) {
    const long value = load_integer(source, source_type, source_index);
    if (is_integer(target_type)) {
      store_integer(value, target, target_type, target_index);
#ifdef cl_khr_fp64
    } else if (target_type == TYPE_FLOAT64) {
      store_double((double)value, target, target_type, target_index);
#endif
    } else {
      store_real((float)value, target, target_type, target_index);
    }
    return;
  }
#ifdef cl_khr_fp64
  if (source_type == TYPE_FLOAT64 || target_type == TYPE_FLOAT64) {
    store_double(load_double(source, source_type, source_index), target, target_type, target_index);
    return;
  }
#endif
  const float value = load_real(source, source_type, source_index);
  if (is_integer(target_type))
    store_integer(
        target_type == TYPE_BOOL ? value != 0.0f : convert_long_sat(value), target, target_type, target_index);
  else
    store_real(value, target, target_type, target_index);
}
