// The instructions that passes over images have most, on bf16 where it lies: numbers are widened and rounded in the loop
// that computes with them, not in loops before and behind it.
#include "elementwise.h"

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

#define LOOP(IS_THERE, EXPRESSION) \
  if (!(IS_THERE)) break; \
  _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < at.count; i++) { \
    float x = catena_element(at.left, i, left), y = reads_right ? catena_element(at.right, i, right) : 0.0f; \
    (void)y; \
    catena_put_element(at.result, i, result, (EXPRESSION)); \
  } \
  break

// What is known when this is compiled decides what the loop does.
CATENA_INLINE void loop(catena_operation operation, streams at, bool left, bool right, bool result, bool reads_right) {
  switch (operation) {
  case CATENA_COPY: LOOP(!reads_right, x);
  case CATENA_RELU: LOOP(!reads_right, x < 0 ? 0.0f : x);
  case CATENA_RELU_GRADIENT: LOOP(reads_right, y > 0 ? x : 0.0f);
  case CATENA_NONZERO_GRADIENT: LOOP(reads_right, y == 0 ? 0.0f : x);
  case CATENA_ADD: LOOP(reads_right, x + y);
  case CATENA_MULTIPLY: LOOP(reads_right, x * y);
  case CATENA_ADD_RELU: LOOP(reads_right, x + y < 0 ? 0.0f : x + y);
  default: break;
  }
}

CATENA_VECTORISED
static void execute_one(catena_operation operation, catena_narrow narrow, streams at) {
  if (narrow.left && narrow.destination) return loop(operation, at, true, false, true, false);
  if (narrow.left) return loop(operation, at, true, false, false, false);
  loop(operation, at, false, false, true, false);
}

CATENA_VECTORISED
static void execute_two(catena_operation operation, catena_narrow narrow, streams at) {
  if (narrow.destination) {
    if (narrow.left && narrow.right) return loop(operation, at, true, true, true, true);
    if (narrow.left) return loop(operation, at, true, false, true, true);
    if (narrow.right) return loop(operation, at, false, true, true, true);
    return loop(operation, at, false, false, true, true);
  }
  if (narrow.left && narrow.right) return loop(operation, at, true, true, false, true);
  if (narrow.left) return loop(operation, at, true, false, false, true);
  loop(operation, at, false, true, false, true);
}

void catena_execute_narrow(
  const catena_instruction *instruction, catena_narrow narrow, int64_t count, void *const *slots
) {
  bool reads_two = catena_reads_two(instruction->operation);
  const void *right = reads_two ? slots[instruction->right] : NULL;
  streams at = {slots[instruction->left], right, slots[instruction->destination], count};
  reads_two ? execute_two(instruction->operation, narrow, at) : execute_one(instruction->operation, narrow, at);
}
