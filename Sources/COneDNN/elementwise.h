// Shared by the element-wise driver and its lanes.
#pragma once

#include "program.h"

// Elements per block: operands and registers of a block stay in the first-level cache.
enum { CATENA_BLOCK = 512 };

// Runs one instruction over `count` lanes.
void catena_execute_float(const catena_instruction *instruction, int64_t count, float *const *slots);
void catena_execute_integer(const catena_instruction *instruction, int64_t count, int64_t *const *slots);

// Reads `count` elements, `stride` apart, into lanes, and back.
void catena_load_float(catena_type type, const void *source, int64_t stride, int64_t count, float *lanes);
void catena_store_float(catena_type type, const float *lanes, void *destination, int64_t stride, int64_t count);
void catena_load_integer(catena_type type, const void *source, int64_t stride, int64_t count, int64_t *lanes);
void catena_store_integer(catena_type type, const int64_t *lanes, void *destination, int64_t stride, int64_t count);

CATENA_INLINE int64_t catena_type_bytes(catena_type type) {
  switch (type) {
  case CATENA_BOOL: case CATENA_U8: case CATENA_I8: return 1;
  case CATENA_F16: case CATENA_BF16: case CATENA_U16: case CATENA_I16: return 2;
  case CATENA_F32: case CATENA_U32: case CATENA_I32: return 4;
  case CATENA_I64: case CATENA_F64: return 8;
  }
  return 0;
}

CATENA_INLINE float catena_from_bfloat16(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

// Nearest, ties to even; a NaN stays a quiet NaN.
CATENA_INLINE uint16_t catena_to_bfloat16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  if (value != value) return (uint16_t)((bits >> 16) | 0x0040);
  return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// Cut off towards zero, clamped to 64 bits; NaN is 0.
CATENA_INLINE int64_t catena_double_to_integer(double value) {
  if (value != value) return 0;
  if (value >= 0x1p63) return INT64_MAX;
  if (value < -0x1p63) return INT64_MIN;
  return (int64_t)value;
}

CATENA_INLINE int64_t catena_to_integer(float value) { return catena_double_to_integer((double)value); }

CATENA_INLINE int64_t catena_wrap(catena_type type, int64_t value) {
  switch (type) {
  case CATENA_BOOL: return value != 0;
  case CATENA_U8: return (uint8_t)value;
  case CATENA_I8: return (int8_t)value;
  case CATENA_U16: return (uint16_t)value;
  case CATENA_I16: return (int16_t)value;
  case CATENA_U32: return (uint32_t)value;
  case CATENA_I32: return (int32_t)value;
  default: return value;
  }
}
