// The instructions on f32 lanes.
#include "elementwise.h"
#include "../functions.h"

// Functions of the C library stay scalar; that is known.
#pragma clang diagnostic ignored "-Wpass-failed"

#define LOOP _Pragma("clang loop vectorize(assume_safety)") for (int64_t i = 0; i < count; i++)
#define ONE(NAME, EXPRESSION) \
  case NAME: \
    LOOP { \
      float x = left[i]; \
      result[i] = (EXPRESSION); \
    } \
    break
#define TWO(NAME, EXPRESSION) \
  case NAME: \
    LOOP { \
      float x = left[i], y = right[i]; \
      result[i] = (EXPRESSION); \
    } \
    break
// The slope at `v`, times the gradient.
#define SLOPE(NAME, EXPRESSION) \
  case NAME: \
    LOOP { \
      float g = left[i], v = right[i]; \
      (void)g; \
      (void)v; \
      result[i] = (EXPRESSION); \
    } \
    break

// Between 0 and 1; no number stays none.
static inline float within_one(float x) { return x < 0 ? 0.0f : x > 1 ? 1.0f : x; }

static float round_to(catena_type type, float value) {
  switch (type) {
  case CATENA_F16: return (float)(_Float16)value;
  case CATENA_BF16: return catena_from_bfloat16(catena_to_bfloat16(value));
  case CATENA_BOOL: return value != 0;
  default: return value;
  }
}

CATENA_VECTORISED
static void execute_one(
  const catena_instruction *instruction, int64_t count, const float *left, float *result
) {
  float a = instruction->a, b = instruction->b;
  switch (instruction->operation) {
  ONE(CATENA_COPY, x);
  ONE(CATENA_RELU, x < 0 ? 0.0f : x);
  ONE(CATENA_LEAKY_RELU, x < 0 ? a * x : x);
  ONE(CATENA_ELU, x < 0 ? a * catena_expm1(x) : x);
  ONE(CATENA_SELU, b * (x < 0 ? a * catena_expm1(x) : x));
  ONE(CATENA_SIGMOID, catena_sigmoid(x));
  ONE(CATENA_HARD_SIGMOID, within_one(a * x + b));
  ONE(CATENA_HARD_SWISH, x * fmaxf(0.0f, fminf(1.0f, x * (1.0f / 6) + 0.5f)));
  ONE(CATENA_TANH, catena_tanh(x));
  ONE(CATENA_SOFTPLUS, catena_softplus(x));
  ONE(CATENA_ERF, erff(x));
  ONE(CATENA_GELU, catena_gelu(x));
  ONE(CATENA_GELU_TANH, catena_gelu_tanh(x));
  ONE(CATENA_CLIP, x < a ? a : x > b ? b : x);
  ONE(CATENA_SQUARE_ROOT, sqrtf(x));
  ONE(CATENA_EXPONENTIAL, catena_exp(x));
  ONE(CATENA_LOGARITHM, logf(x));
  ONE(CATENA_NEGATE, -x);
  ONE(CATENA_ABSOLUTE, fabsf(x));
  ONE(CATENA_RECIPROCAL, 1.0f / x);
  ONE(CATENA_FLOOR, floorf(x));
  ONE(CATENA_CEILING, ceilf(x));
  ONE(CATENA_SIGN, x > 0 ? 1.0f : x < 0 ? -1.0f : x);
  ONE(CATENA_NOT, x == 0 ? 1.0f : 0.0f);
  ONE(CATENA_AFFINE, a * x + b);
  case CATENA_ROUND:
    for (int64_t i = 0; i < count; i++) result[i] = round_to((catena_type)instruction->right, left[i]);
    break;
  default: break;
  }
}

CATENA_VECTORISED
static void execute_slope(
  const catena_instruction *instruction, int64_t count, const float *left, const float *right, float *result
) {
  float a = instruction->a, b = instruction->b;
  switch (instruction->operation) {
  SLOPE(CATENA_RELU_GRADIENT, v > 0 ? g : 0.0f);
  SLOPE(CATENA_LEAKY_RELU_GRADIENT, v > 0 ? g : a * g);
  SLOPE(CATENA_ELU_GRADIENT, v > 0 ? g : g * a * catena_exp(v));
  SLOPE(CATENA_SELU_GRADIENT, g * b * (v > 0 ? 1.0f : a * catena_exp(v)));
  SLOPE(CATENA_SIGMOID_GRADIENT, g * v * (1.0f - v));
  SLOPE(CATENA_HARD_SIGMOID_GRADIENT, a * v + b > 0 && a * v + b < 1 ? a * g : 0.0f);
  SLOPE(CATENA_HARD_SWISH_GRADIENT, v <= -3 ? 0.0f : v >= 3 ? g : g * (v * (1.0f / 3) + 0.5f));
  SLOPE(CATENA_TANH_GRADIENT, g * (1.0f - v * v));
  SLOPE(CATENA_SOFTPLUS_GRADIENT, g * catena_sigmoid(v));
  SLOPE(CATENA_ERF_GRADIENT, g * 1.12837916709551257390f * catena_exp(-v * v));
  SLOPE(CATENA_GELU_GRADIENT, g * catena_gelu_slope(v));
  SLOPE(CATENA_GELU_TANH_GRADIENT, g * catena_gelu_tanh_slope(v));
  SLOPE(CATENA_CLIP_GRADIENT, v >= a && v <= b ? g : 0.0f);
  SLOPE(CATENA_SQUARE_ROOT_GRADIENT, g * 0.5f / v);
  SLOPE(CATENA_EXPONENTIAL_GRADIENT, g * v);
  SLOPE(CATENA_LOGARITHM_GRADIENT, g / v);
  SLOPE(CATENA_NEGATE_GRADIENT, -g);
  SLOPE(CATENA_ABSOLUTE_GRADIENT, v > 0 ? g : v < 0 ? -g : 0.0f);
  SLOPE(CATENA_RECIPROCAL_GRADIENT, -g * v * v);
  SLOPE(CATENA_ZERO_GRADIENT, 0.0f);
  SLOPE(CATENA_NONZERO_GRADIENT, v == 0 ? 0.0f : g);
  default: break;
  }
}

CATENA_INLINE float modulo(float x, float y) {
  float remainder = fmodf(x, y);
  return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
}

CATENA_VECTORISED
static void execute_two(
  const catena_instruction *instruction, int64_t count, const float *left, const float *right, float *result
) {
  switch (instruction->operation) {
  TWO(CATENA_ADD, x + y);
  TWO(CATENA_SUBTRACT, x - y);
  TWO(CATENA_MULTIPLY, x * y);
  TWO(CATENA_DIVIDE, x / y);
  TWO(CATENA_POWER, powf(x, y));
  // A NaN on either side is the result.
  TWO(CATENA_MINIMUM, x < y || x != x ? x : y);
  TWO(CATENA_MAXIMUM, x > y || x != x ? x : y);
  TWO(CATENA_PRELU, x < 0 ? x * y : x);
  TWO(CATENA_MODULO, modulo(x, y));
  TWO(CATENA_EQUAL, x == y ? 1.0f : 0.0f);
  TWO(CATENA_LESS, x < y ? 1.0f : 0.0f);
  TWO(CATENA_LESS_OR_EQUAL, x <= y ? 1.0f : 0.0f);
  TWO(CATENA_GREATER, x > y ? 1.0f : 0.0f);
  TWO(CATENA_GREATER_OR_EQUAL, x >= y ? 1.0f : 0.0f);
  TWO(CATENA_AND, x != 0 && y != 0 ? 1.0f : 0.0f);
  TWO(CATENA_OR, x != 0 || y != 0 ? 1.0f : 0.0f);
  TWO(CATENA_XOR, (x != 0) != (y != 0) ? 1.0f : 0.0f);
  TWO(CATENA_DIVIDE_OR_ZERO, y == 0 ? 0.0f : x / y);
  TWO(CATENA_ADD_RELU, x + y < 0 ? 0.0f : x + y);
  default: break;
  }
}

CATENA_VECTORISED
static void execute_three(
  const catena_instruction *instruction, int64_t count, const float *left, const float *right, const float *third,
  float *result
) {
  if (instruction->operation == CATENA_SELECT) {
    LOOP result[i] = left[i] != 0 ? right[i] : third[i];
  } else {
    LOOP result[i] = left[i] * right[i] + third[i];
  }
}

void catena_execute_float(const catena_instruction *instruction, int64_t count, float *const *slots) {
  float *result = slots[instruction->destination];
  const float *left = slots[instruction->left];
  if (instruction->operation < CATENA_RELU_GRADIENT) {
    execute_one(instruction, count, left, result);
  } else if (instruction->operation < CATENA_ADD) {
    execute_slope(instruction, count, left, slots[instruction->right], result);
  } else if (instruction->operation < CATENA_SELECT) {
    execute_two(instruction, count, left, slots[instruction->right], result);
  } else {
    execute_three(instruction, count, left, slots[instruction->right], slots[instruction->third], result);
  }
}
