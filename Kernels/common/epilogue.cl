// What happens to a result before it is stored: up to four stages, each a function of the value and, for most, of one
// operand. A value that others read besides the next stage is stored after its stage; `store0` is the value before the
// first. Which stages, operands and stores there are is uniform over a launch.
//
// The result is rows x columns. A `full` operand has the result's own extents. A `channel` operand holds one row of
// columns per region, a `row` operand one number per region and channel, where row r belongs to channel r % channels;
// a region is `rows_per_region` consecutive rows. A `scalar` operand holds one number. The first parameter of a sum is
// the operand's factor.

#define EPILOGUE_PARAMETERS                                                                                    \
  const int4 kinds, const int4 functions, const float8 parameters, const int4 rows_per_region,               \
      const int channels, const global float *operand0, const global float *operand1,                         \
      const global float *operand2, const global float *operand3, global float *store0, global float *store1, \
      global float *store2, global float *store3, global float *store4

inline floatv epilogue_operand(
    int kind, const global float *operand, int row, int column, int columns, int rows_per_region, int channels,
    int lanes) {
  switch (kind) {
    case STAGE_CHANNEL: return load_lanes(operand + (row / rows_per_region) * columns + column, lanes);
    case STAGE_SCALAR: return (floatv)(operand[0]);
    case STAGE_ROW: return (floatv)(operand[(row / rows_per_region) * channels + row % channels]);
    default: return load_lanes(operand + row * columns + column, lanes);
  }
}

// kind says how the operand is found, `function` what is done with it.
inline __attribute__((always_inline)) floatv epilogue_stage(
    floatv value, int kind, int function, float a, float b, const global float *operand, int row, int column,
    int columns, int rows_per_region, int channels, int lanes) {
  if (kind == STAGE_UNARY) return function == UNARY_RELU ? value < (floatv)(0.0f) ? (floatv)(0.0f) : value : unary_function(function, value, a, b);
  const floatv other = epilogue_operand(kind, operand, row, column, columns, rows_per_region, channels, lanes);
  if (function == BINARY_ADD) return value + a * other;
  if (function == BINARY_SUBTRACT) return value - other;
  if (function == BINARY_MULTIPLY) return value * other;
  if (function >= FUNCTION_GRADIENT) return unary_gradient(function - FUNCTION_GRADIENT, value, other, a, b);
  if (function >= FUNCTION_REVERSED) return binary_function(function - FUNCTION_REVERSED, other, value);
  return binary_function(function, value, other);
}

#define EPILOGUE_STAGE(index, next, a, b)                                                                      \
  if (kinds.s##index != STAGE_NONE) {                                                                           \
    value = epilogue_stage(                                                                                     \
        value, kinds.s##index, functions.s##index, a, b, operand##index, row, column, columns,                \
        rows_per_region.s##index, channels, lanes);                                                             \
    if (store##next) store_lanes(value, store##next + row * columns + column, lanes);                          \
  }

#define EPILOGUE_ARGUMENTS                                                                                     \
  kinds, functions, parameters, rows_per_region, channels, operand0, operand1, operand2, operand3, store0,     \
      store1, store2, store3, store4

// Everything behind a value, in place.
inline __attribute__((always_inline)) void inlined_epilogue(
    floatv value, int row, int column, int columns, int lanes, EPILOGUE_PARAMETERS) {
  if (store0) store_lanes(value, store0 + row * columns + column, lanes);
  EPILOGUE_STAGE(0, 1, parameters.s0, parameters.s1)
  EPILOGUE_STAGE(1, 2, parameters.s2, parameters.s3)
  EPILOGUE_STAGE(2, 3, parameters.s4, parameters.s5)
  EPILOGUE_STAGE(3, 4, parameters.s6, parameters.s7)
}

CALLED void called_epilogue(floatv value, int row, int column, int columns, int lanes, EPILOGUE_PARAMETERS) {
  inlined_epilogue(value, row, column, columns, lanes, EPILOGUE_ARGUMENTS);
}

// The same behind loops whose variables stay in registers where nothing but a store follows.
inline void epilogue(floatv value, int row, int column, int columns, int lanes, EPILOGUE_PARAMETERS) {
  if (kinds.s0 != STAGE_NONE)
    called_epilogue(value, row, column, columns, lanes, EPILOGUE_ARGUMENTS);
  else if (store0)
    store_lanes(value, store0 + row * columns + column, lanes);
}

#if BLOCKS > 1

// A stage of BLOCKS vectors of a row that lie together. On a core it takes longer to ask what a stage does than to do it
// where that is short: then it is asked once for them all.
inline __attribute__((always_inline)) void epilogue_stage_of_blocks(
    floatv *values, int kind, int function, float a, float b, const global float *operand, int row, int column,
    int columns, int rows_per_region, int channels) {
  const bool is_row_of_operand = kind == STAGE_FULL || kind == STAGE_CHANNEL;
  const int operand_row = kind == STAGE_CHANNEL ? row / rows_per_region : row;
  const global float *others = operand + operand_row * columns + column;
  if (kind == STAGE_UNARY && function == UNARY_RELU) {
#pragma unroll
    for (int i = 0; i < BLOCKS; ++i) values[i] = values[i] < (floatv)(0.0f) ? (floatv)(0.0f) : values[i];
  } else if (is_row_of_operand && function == BINARY_ADD) {
#pragma unroll
    for (int i = 0; i < BLOCKS; ++i) values[i] += a * load_lanes(others + i * LANES, LANES);
  } else if (is_row_of_operand && function == BINARY_MULTIPLY) {
#pragma unroll
    for (int i = 0; i < BLOCKS; ++i) values[i] *= load_lanes(others + i * LANES, LANES);
  } else {
#pragma unroll 1
    for (int i = 0; i < BLOCKS; ++i) {
      values[i] = epilogue_stage(
          values[i], kind, function, a, b, operand, row, column + i * LANES, columns, rows_per_region, channels, LANES);
    }
  }
}

inline void store_blocks(const floatv *values, global float *target) {
#pragma unroll
  for (int i = 0; i < BLOCKS; ++i) store_lanes(values[i], target + i * LANES, LANES);
}

#define EPILOGUE_STAGE_OF_BLOCKS(index, next, a, b)                                                            \
  if (kinds.s##index != STAGE_NONE) {                                                                           \
    epilogue_stage_of_blocks(                                                                                   \
        values, kinds.s##index, functions.s##index, a, b, operand##index, row, column, columns,               \
        rows_per_region.s##index, channels);                                                                    \
    if (store##next) store_blocks(values, store##next + row * columns + column);                               \
  }

// Everything behind BLOCKS vectors, in place.
inline __attribute__((always_inline)) void epilogue_of_blocks(
    floatv *values, int row, int column, int columns, EPILOGUE_PARAMETERS) {
  if (store0) store_blocks(values, store0 + row * columns + column);
  EPILOGUE_STAGE_OF_BLOCKS(0, 1, parameters.s0, parameters.s1)
  EPILOGUE_STAGE_OF_BLOCKS(1, 2, parameters.s2, parameters.s3)
  EPILOGUE_STAGE_OF_BLOCKS(2, 3, parameters.s4, parameters.s5)
  EPILOGUE_STAGE_OF_BLOCKS(3, 4, parameters.s6, parameters.s7)
}

#endif
