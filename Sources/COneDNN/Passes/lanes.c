// Conversions between stored elements and lanes.
#include "elementwise.h"

// Narrow integers and half precision stay scalar on older processors; that is known.
#pragma clang diagnostic ignored "-Wpass-failed"

#define LOOP _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < count; i++)

CATENA_VECTORISED
void catena_load_float(catena_type type, const void *source, int64_t stride, int64_t count, float *lanes) {
  switch (type) {
  case CATENA_F32: {
    const float *values = source;
    if (stride == 1) {
      memcpy(lanes, values, (size_t)count * sizeof(float));
    } else if (stride == 0) {
      float value = values[0];
      LOOP lanes[i] = value;
    } else {
      LOOP lanes[i] = values[i * stride];
    }
    break;
  }
  case CATENA_F16: LOOP lanes[i] = (float)((const _Float16 *)source)[i * stride]; break;
  case CATENA_BF16: LOOP lanes[i] = catena_from_bfloat16(((const uint16_t *)source)[i * stride]); break;
  case CATENA_BOOL: LOOP lanes[i] = ((const uint8_t *)source)[i * stride] != 0 ? 1.0f : 0.0f; break;
  case CATENA_U8: LOOP lanes[i] = ((const uint8_t *)source)[i * stride]; break;
  case CATENA_I8: LOOP lanes[i] = ((const int8_t *)source)[i * stride]; break;
  case CATENA_U16: LOOP lanes[i] = ((const uint16_t *)source)[i * stride]; break;
  case CATENA_I16: LOOP lanes[i] = ((const int16_t *)source)[i * stride]; break;
  case CATENA_U32: LOOP lanes[i] = (float)((const uint32_t *)source)[i * stride]; break;
  case CATENA_I32: LOOP lanes[i] = (float)((const int32_t *)source)[i * stride]; break;
  case CATENA_I64: LOOP lanes[i] = (float)((const int64_t *)source)[i * stride]; break;
  case CATENA_F64: LOOP lanes[i] = (float)((const double *)source)[i * stride]; break;
  }
}

CATENA_VECTORISED
void catena_store_float(catena_type type, const float *lanes, void *destination, int64_t stride, int64_t count) {
  switch (type) {
  case CATENA_F32: LOOP ((float *)destination)[i * stride] = lanes[i]; break;
  case CATENA_F16: LOOP ((_Float16 *)destination)[i * stride] = (_Float16)lanes[i]; break;
  case CATENA_BF16: LOOP ((uint16_t *)destination)[i * stride] = catena_to_bfloat16(lanes[i]); break;
  case CATENA_BOOL: LOOP ((uint8_t *)destination)[i * stride] = lanes[i] != 0; break;
  case CATENA_U8: case CATENA_I8:
    LOOP ((uint8_t *)destination)[i * stride] = (uint8_t)catena_to_integer(lanes[i]);
    break;
  case CATENA_U16: case CATENA_I16:
    LOOP ((uint16_t *)destination)[i * stride] = (uint16_t)catena_to_integer(lanes[i]);
    break;
  case CATENA_U32: case CATENA_I32:
    LOOP ((uint32_t *)destination)[i * stride] = (uint32_t)catena_to_integer(lanes[i]);
    break;
  case CATENA_I64: LOOP ((int64_t *)destination)[i * stride] = catena_to_integer(lanes[i]); break;
  case CATENA_F64: LOOP ((double *)destination)[i * stride] = lanes[i]; break;
  }
}

void catena_load_integer(catena_type type, const void *source, int64_t stride, int64_t count, int64_t *lanes) {
  switch (type) {
  case CATENA_F32: LOOP lanes[i] = catena_to_integer(((const float *)source)[i * stride]); break;
  case CATENA_F16: LOOP lanes[i] = catena_to_integer((float)((const _Float16 *)source)[i * stride]); break;
  case CATENA_BF16:
    LOOP lanes[i] = catena_to_integer(catena_from_bfloat16(((const uint16_t *)source)[i * stride]));
    break;
  case CATENA_BOOL: LOOP lanes[i] = ((const uint8_t *)source)[i * stride] != 0; break;
  case CATENA_U8: LOOP lanes[i] = ((const uint8_t *)source)[i * stride]; break;
  case CATENA_I8: LOOP lanes[i] = ((const int8_t *)source)[i * stride]; break;
  case CATENA_U16: LOOP lanes[i] = ((const uint16_t *)source)[i * stride]; break;
  case CATENA_I16: LOOP lanes[i] = ((const int16_t *)source)[i * stride]; break;
  case CATENA_U32: LOOP lanes[i] = ((const uint32_t *)source)[i * stride]; break;
  case CATENA_I32: LOOP lanes[i] = ((const int32_t *)source)[i * stride]; break;
  case CATENA_I64: LOOP lanes[i] = ((const int64_t *)source)[i * stride]; break;
  case CATENA_F64: LOOP lanes[i] = catena_double_to_integer(((const double *)source)[i * stride]); break;
  }
}

void catena_store_integer(catena_type type, const int64_t *lanes, void *destination, int64_t stride, int64_t count) {
  switch (type) {
  case CATENA_F32: LOOP ((float *)destination)[i * stride] = (float)lanes[i]; break;
  case CATENA_F16: LOOP ((_Float16 *)destination)[i * stride] = (_Float16)lanes[i]; break;
  case CATENA_BF16: LOOP ((uint16_t *)destination)[i * stride] = catena_to_bfloat16((float)lanes[i]); break;
  case CATENA_BOOL: LOOP ((uint8_t *)destination)[i * stride] = lanes[i] != 0; break;
  case CATENA_U8: case CATENA_I8: LOOP ((uint8_t *)destination)[i * stride] = (uint8_t)lanes[i]; break;
  case CATENA_U16: case CATENA_I16: LOOP ((uint16_t *)destination)[i * stride] = (uint16_t)lanes[i]; break;
  case CATENA_U32: case CATENA_I32: LOOP ((uint32_t *)destination)[i * stride] = (uint32_t)lanes[i]; break;
  case CATENA_I64: LOOP ((int64_t *)destination)[i * stride] = lanes[i]; break;
  case CATENA_F64: LOOP ((double *)destination)[i * stride] = (double)lanes[i]; break;
  }
}
