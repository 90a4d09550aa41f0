// Shared by the element-wise driver and its lanes.
#pragma once

#include "../program.h"

// Elements per block: operands and registers of a block stay in the first-level cache. Lanes of a vector, which may be
// written behind a block's.
enum { CATENA_BLOCK = 512, CATENA_LANES = 16 };

// Channels of the side that has more, side by side: how many of a map's are before them, which of them are, and as many
// bits from the first on.
typedef struct {
  int32_t before;
  uint16_t mask, first;
} catena_channel_vector;

// A channel map as vectors use it.
typedef struct {
  int64_t count, vectors;
  const int32_t *channels;
  const catena_channel_vector *vector;
  bool is_placed;
} catena_channels;

// What a pass walks: an element of every operand at a time.
typedef struct {
  int32_t rank, operand_count;
  int64_t extents[CATENA_MAX_RANK];
  catena_operand operands[CATENA_MAX_OPERANDS];
  int64_t strides[CATENA_MAX_OPERANDS][CATENA_MAX_RANK];
  // NULL, or one for every operand, NULL where memory has the channels that are walked.
  catena_channels **maps;
} catena_walk;

CATENA_INLINE bool catena_is_mapped(const catena_walk *walk, int32_t operand) {
  return walk->maps != NULL && walk->maps[operand] != NULL;
}

// Where a gradient goes on: where an operand is above 0, or where it is not 0.
typedef struct {
  int32_t operand;
  bool is_nonzero;
} catena_mask;

// result = gradient * gate, where the mask lets it.
typedef struct {
  int32_t gate, result;
  catena_mask mask;
} catena_gate;

// sum over pixels of gradient * data
typedef struct {
  int32_t data, sum;
} catena_gate_sum;

// The most gates of a pass, and the most channels.
enum { CATENA_MOST_GATES = 2, CATENA_MOST_GATED = 4 * CATENA_BLOCK };

// A gradient that is masked, kept, multiplied by gates and, with data, added up for the gates' own gradients; slots,
// -1 for none.
typedef struct {
  // Whether memory has bf16, and whether the gradient is read through a channel map, into f32.
  bool is_narrow, is_source_mapped;
  int32_t source, kept, gate_count, sum_count;
  catena_mask mask;
  catena_gate gates[CATENA_MOST_GATES];
  catena_gate_sum sums[CATENA_MOST_GATES];
} catena_gate_pass;

// Whether instructions are such a pass, and which.
bool catena_find_gate_pass(
  const catena_walk *walk, int32_t count, const catena_instruction *instructions, catena_gate_pass *pass);
// Runs it over `count` elements, with a gate and a sum for each of them.
void catena_run_gate_pass(
  const catena_gate_pass *pass, void *const *slots, const float *const *gates, float *const *sums, int64_t count);

// NULL without memory; to be freed.
catena_channels *catena_channels_create(const catena_channel_map *map);
// Reads `rows` rows of `length` channels from the walk's channel `first` on, a multiple of a vector's lanes; memory's
// rows, f32 or bf16, are `stride` elements apart. Up to a vector of lanes behind the last is overwritten.
void catena_load_channels(
  const catena_channels *map, catena_type type, const void *source, int64_t stride, int64_t first, int64_t rows,
  int64_t length, float *lanes);

// Whether an instruction reads a slot.
bool catena_reads(const catena_instruction *instruction, int32_t slot);
// Makes one of every sum in a register and its ReLU. Returns how many instructions are left.
int32_t catena_join_sums(int32_t operand_count, int32_t count, catena_instruction *instructions);

// Which of an instruction's numbers are bf16 in memory instead of lanes.
typedef struct {
  bool left, right, destination;
} catena_narrow;

CATENA_INLINE bool catena_is_narrow(catena_narrow narrow) { return narrow.left || narrow.right || narrow.destination; }

CATENA_INLINE bool catena_reads_two(catena_operation operation) { return operation >= CATENA_RELU_GRADIENT; }

// Whether there is a loop for an instruction on such numbers, and runs it.
bool catena_is_narrow_possible(catena_operation operation);
void catena_execute_narrow(
  const catena_instruction *instruction, catena_narrow narrow, int64_t count, void *const *slots);

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

// Of a stream of bf16 or f32.
CATENA_INLINE float catena_element(const void *stream, int64_t index, bool is_narrow) {
  return is_narrow ? catena_from_bfloat16(((const uint16_t *)stream)[index]) : ((const float *)stream)[index];
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
