// The instructions on i64 lanes: indices, sizes and masks; arithmetic wraps.
#include "elementwise.h"

#define LOOP for (int64_t i = 0; i < count; i++)
#define CASE(NAME, EXPRESSION) \
  case NAME: \
    LOOP { \
      int64_t x = left[i], y = right[i]; \
      (void)y; \
      result[i] = (EXPRESSION); \
    } \
    break

static int64_t wrapping(uint64_t value) { return (int64_t)value; }

static int64_t divide(int64_t x, int64_t y) { return y == 0 ? 0 : y == -1 ? wrapping(0 - (uint64_t)x) : x / y; }

static int64_t modulo(int64_t x, int64_t y) {
  if (y == 0 || y == -1) return 0;
  int64_t remainder = x % y;
  return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}

static int64_t power(int64_t x, int64_t y) {
  if (y < 0) return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
  uint64_t result = 1, base = (uint64_t)x;
  for (; y > 0; y >>= 1) {
    if (y & 1) result *= base;
    base *= base;
  }
  return wrapping(result);
}

// A bound outside the range does not bind.
static int64_t clip(int64_t x, float low, float high) {
  return catena_minimum(catena_maximum(x, catena_to_integer(low)), catena_to_integer(high));
}

void catena_execute_integer(const catena_instruction *instruction, int64_t count, int64_t *const *slots) {
  int64_t *result = slots[instruction->destination];
  const int64_t *left = slots[instruction->left];
  if (instruction->operation == CATENA_ROUND) {
    LOOP result[i] = catena_wrap((catena_type)instruction->right, left[i]);
    return;
  }
  const int64_t *right = slots[instruction->right];
  switch (instruction->operation) {
  CASE(CATENA_COPY, x);
  CASE(CATENA_RELU, x < 0 ? 0 : x);
  CASE(CATENA_CLIP, clip(x, instruction->a, instruction->b));
  CASE(CATENA_NEGATE, wrapping(0 - (uint64_t)x));
  CASE(CATENA_ABSOLUTE, x < 0 ? wrapping(0 - (uint64_t)x) : x);
  CASE(CATENA_SIGN, (x > 0) - (x < 0));
  CASE(CATENA_NOT, x == 0);
  CASE(CATENA_ADD, wrapping((uint64_t)x + (uint64_t)y));
  CASE(CATENA_SUBTRACT, wrapping((uint64_t)x - (uint64_t)y));
  CASE(CATENA_MULTIPLY, wrapping((uint64_t)x * (uint64_t)y));
  CASE(CATENA_DIVIDE, divide(x, y));
  CASE(CATENA_POWER, power(x, y));
  CASE(CATENA_MINIMUM, x < y ? x : y);
  CASE(CATENA_MAXIMUM, x > y ? x : y);
  CASE(CATENA_PRELU, x < 0 ? wrapping((uint64_t)x * (uint64_t)y) : x);
  CASE(CATENA_MODULO, modulo(x, y));
  CASE(CATENA_EQUAL, x == y);
  CASE(CATENA_LESS, x < y);
  CASE(CATENA_LESS_OR_EQUAL, x <= y);
  CASE(CATENA_GREATER, x > y);
  CASE(CATENA_GREATER_OR_EQUAL, x >= y);
  CASE(CATENA_AND, x != 0 && y != 0);
  CASE(CATENA_OR, x != 0 || y != 0);
  CASE(CATENA_XOR, (x != 0) != (y != 0));
  case CATENA_SELECT: LOOP result[i] = left[i] != 0 ? right[i] : slots[instruction->third][i]; break;
  default: break;
  }
}
