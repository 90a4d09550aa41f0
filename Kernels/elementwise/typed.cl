// Element-wise operators on elements of any type, and conversion between types. What a network runs on float32 has
// kernels of its own (elementwise.cl).

inline long wrapping_power(long base, long exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  ulong result = 1;
  ulong square = base;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result *= square;
    square *= square;
  }
  return result;
}

// Results wrap; `fault` says that an integer was divided by zero.
inline long integer_binary(int function, long x, long y, global int *fault) {
  if (y == 0 && (function == BINARY_DIVIDE || function == BINARY_MODULO)) {
    *fault = FAULT_DIVISION_BY_ZERO;
    return 0;
  }
  switch (function) {
    case BINARY_ADD: return (ulong)x + (ulong)y;
    case BINARY_SUBTRACT: return (ulong)x - (ulong)y;
    case BINARY_MULTIPLY: return (ulong)x * (ulong)y;
    case BINARY_DIVIDE: return y == -1 ? (long)(0 - (ulong)x) : x / y;
    case BINARY_POWER:
      if (x == 0 && y < 0) *fault = FAULT_DIVISION_BY_ZERO;
      return wrapping_power(x, y);
    case BINARY_MINIMUM: return min(x, y);
    case BINARY_MAXIMUM: return max(x, y);
    case BINARY_PRELU: return x < 0 ? (long)((ulong)x * (ulong)y) : x;
    case BINARY_MODULO: {
      const long remainder = y == -1 ? 0 : x % y;
      return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
    }
    case BINARY_EQUAL: return x == y;
    case BINARY_LESS: return x < y;
    case BINARY_LESS_OR_EQUAL: return x <= y;
    case BINARY_GREATER: return x > y;
    case BINARY_GREATER_OR_EQUAL: return x >= y;
    case BINARY_AND: return x != 0 && y != 0;
    case BINARY_OR: return x != 0 || y != 0;
    case BINARY_XOR: return (x != 0) != (y != 0);
  }
  return x;
}

inline long integer_unary(int function, long x, float a, float b) {
  switch (function) {
    case UNARY_RELU: return max(x, 0L);
    // A bound outside the range does not bind.
    case UNARY_CLIP: return min(max(x, convert_long_sat(a)), convert_long_sat(b));
    case UNARY_NEGATE: return 0 - (ulong)x;
    case UNARY_ABSOLUTE: return x < 0 ? (long)(0 - (ulong)x) : x;
    case UNARY_SIGN: return (x > 0) - (x < 0);
    case UNARY_NOT: return x == 0;
  }
  return x;
}

inline bool predicate(int function, float x, float y) {
  switch (function) {
    case BINARY_EQUAL: return x == y;
    case BINARY_LESS: return x < y;
    case BINARY_LESS_OR_EQUAL: return x <= y;
    case BINARY_GREATER: return x > y;
    case BINARY_GREATER_OR_EQUAL: return x >= y;
    case BINARY_AND: return x != 0.0f && y != 0.0f;
    case BINARY_OR: return x != 0.0f || y != 0.0f;
    default: return (x != 0.0f) != (y != 0.0f);
  }
}

inline float number_at(const global uchar *data, int type, int index) {
  return is_integer(type) ? (float)load_integer(data, type, index) : load_real(data, type, index);
}

// Up to three operands broadcast against each other. The result is contiguous in the order of the walk.
kernel WORK_GROUP void typed_elementwise(
    const global uchar *first, const global uchar *second, const global uchar *third, global uchar *result,
    global int *fault, const int operation, const int function, const int4 types, const float2 parameters,
    const int rank, const int8 extents, const int8 first_strides, const int8 second_strides, const int8 third_strides,
    const int count) {
  const int item = get_global_id(0);
  if (item >= count) return;
  const int i = strided_offset(item, rank, extents, first_strides);
  const int j = second ? strided_offset(item, rank, extents, second_strides) : 0;
  const int type = types.s0;
  switch (operation) {
    case TYPED_CONVERT: convert_element(first, type, i, result, types.s3, item); break;
    case TYPED_UNARY:
      store_integer(
          integer_unary(function, load_integer(first, type, i), parameters.s0, parameters.s1), result, types.s3, item);
      break;
    case TYPED_BINARY:
      if (is_integer(type) && is_integer(types.s1)) {
        store_integer(
            integer_binary(function, load_integer(first, type, i), load_integer(second, types.s1, j), fault), result,
            types.s3, item);
      } else if (types.s3 == TYPE_BOOL) {
        store_integer(
            predicate(function, number_at(first, type, i), number_at(second, types.s1, j)), result, types.s3, item);
      } else {
        // A power whose operands differ in type.
        const float exponent = number_at(second, types.s1, j);
        if (is_integer(type) && exponent == floor(exponent)) {
          store_integer(
              integer_binary(function, load_integer(first, type, i), convert_long_sat(exponent), fault), result,
              types.s3, item);
        } else {
          const float value = pow(number_at(first, type, i), exponent);
          if (is_integer(types.s3)) store_integer(convert_long_sat(value), result, types.s3, item);
          else store_real(value, result, types.s3, item);
        }
      }
      break;
    case TYPED_SELECT: {
      const bool holds = load_integer(first, type, i) != 0;
      const global uchar *chosen = holds ? second : third;
      const int k = holds ? j : strided_offset(item, rank, extents, third_strides);
      if (is_integer(types.s1)) store_integer(load_integer(chosen, types.s1, k), result, types.s3, item);
      else store_real(load_real(chosen, types.s1, k), result, types.s3, item);
    }
  }
}

// A copy between two strided views that changes the type.
kernel WORK_GROUP void strided_convert(
    const global uchar *source, global uchar *target, const int2 types, const int rank, const int8 extents,
    const int8 source_strides, const int8 target_strides, const int count) {
  const int item = get_global_id(0);
  if (item >= count) return;
  convert_element(
      source, types.s0, strided_offset(item, rank, extents, source_strides), target, types.s1,
      strided_offset(item, rank, extents, target_strides));
}

// Indices into an axis as int, counted from its beginning; `fault` says that one is outside.
kernel WORK_GROUP void absolute_indices(
    const global uchar *indices, global int *result, global int *fault, const int type, const int extent,
    const int count) {
  const int item = get_global_id(0);
  if (item >= count) return;
  const long index = load_integer(indices, type, item);
  const long absolute = index < 0 ? index + extent : index;
  const bool is_inside = absolute >= 0 && absolute < extent;
  if (!is_inside) *fault = FAULT_INDEX_OUT_OF_RANGE;
  result[item] = is_inside ? (int)absolute : 0;
}
