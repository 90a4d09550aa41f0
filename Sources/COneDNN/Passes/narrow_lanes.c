// The instructions that passes over images have most, on bf16 where it lies: numbers are widened and rounded in the
// loop that computes with them, not in loops before and behind it.
#include "elementwise.h"
#include "../panels.h"

bool catena_is_narrow_possible(catena_operation operation) {
  switch (operation) {
  case CATENA_COPY: case CATENA_RELU: case CATENA_RELU_GRADIENT: case CATENA_NONZERO_GRADIENT: case CATENA_ADD:
  case CATENA_MULTIPLY: case CATENA_ADD_RELU: return true;
  default: return false;
  }
}

typedef struct {
  const void *left, *right;
  void *result;
  int64_t count;
} streams;

CATENA_INLINE vector where(vector value, bit_vector mask) { return (vector)((bit_vector)value & mask); }

// One result after the other, whole vectors of them: the last is partly the one before again, read before anything is
// written, since results may take the place of what is read.
#define LOOP(IS_THERE, EXPRESSION) \
  if (IS_THERE) { \
    if (at.count < LANES) { \
      PART(EXPRESSION, last, 0, at.count) \
      store_lanes_to(at.result, 0, last, result, rounds, at.count); \
      break; \
    } \
    PART(EXPRESSION, last, at.count - LANES, LANES) \
    for (int64_t i = 0; i + LANES <= at.count; i += LANES) { \
      PART(EXPRESSION, part, i, LANES) \
      store_to(at.result, i, part, result, rounds); \
    } \
    store_to(at.result, at.count - LANES, last, result, rounds); \
  } \
  break
#define PART(EXPRESSION, NAME, INDEX, COUNT) \
  vector NAME; \
  { \
    vector x = load_lanes_from(at.left, INDEX, left, COUNT); \
    vector y = reads_right ? load_lanes_from(at.right, INDEX, right, COUNT) : x; \
    (void)y; \
    NAME = (EXPRESSION); \
  }

// What is known when this is compiled decides what the loop does.
CATENA_INLINE void loop(
  catena_operation operation, streams at, bool left, bool right, bool result, bool reads_right, bool rounds
) {
  switch (operation) {
  case CATENA_COPY: LOOP(!reads_right, x);
  case CATENA_RELU: LOOP(!reads_right, where(x, ~(bit_vector)(x < 0)));
  case CATENA_RELU_GRADIENT: LOOP(reads_right, where(x, (bit_vector)(y > 0)));
  case CATENA_NONZERO_GRADIENT: LOOP(reads_right, where(x, ~(bit_vector)(y == 0)));
  case CATENA_ADD: LOOP(reads_right, x + y);
  case CATENA_MULTIPLY: LOOP(reads_right, x * y);
  case CATENA_ADD_RELU: LOOP(reads_right, where(x + y, ~(bit_vector)(x + y < 0)));
  default: break;
  }
}

CATENA_INLINE void one(catena_operation operation, catena_narrow narrow, streams at, bool rounds) {
  if (narrow.left && narrow.destination) return loop(operation, at, true, false, true, false, rounds);
  if (narrow.left) return loop(operation, at, true, false, false, false, rounds);
  loop(operation, at, false, false, true, false, rounds);
}

CATENA_INLINE void two(catena_operation operation, catena_narrow narrow, streams at, bool rounds) {
  if (narrow.destination) {
    if (narrow.left && narrow.right) return loop(operation, at, true, true, true, true, rounds);
    if (narrow.left) return loop(operation, at, true, false, true, true, rounds);
    if (narrow.right) return loop(operation, at, false, true, true, true, rounds);
    return loop(operation, at, false, false, true, true, rounds);
  }
  if (narrow.left && narrow.right) return loop(operation, at, true, true, false, true, rounds);
  if (narrow.left) return loop(operation, at, true, false, false, true, rounds);
  loop(operation, at, false, true, false, true, rounds);
}

CATENA_VECTORISED
static void execute(catena_operation operation, catena_narrow narrow, streams at) {
  catena_reads_two(operation) ? two(operation, narrow, at, false) : one(operation, narrow, at, false);
}

CATENA_ROUNDING
static void execute_rounding(catena_operation operation, catena_narrow narrow, streams at) {
  catena_reads_two(operation) ? two(operation, narrow, at, true) : one(operation, narrow, at, true);
}

void catena_execute_narrow(
  const catena_instruction *instruction, catena_narrow narrow, int64_t count, void *const *slots
) {
  const void *right = catena_reads_two(instruction->operation) ? slots[instruction->right] : NULL;
  streams at = {slots[instruction->left], right, slots[instruction->destination], count};
  if (catena_can_round()) return execute_rounding(instruction->operation, narrow, at);
  execute(instruction->operation, narrow, at);
}
