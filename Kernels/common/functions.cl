// The functions of one and of two elements. The codes come from the host's tables (KernelFunctions.swift), so that
// each function is named once. `a` and `b` are the function's parameters.

inline floatv gelu_cdf(floatv x) { return 0.5f * erfc(-x * M_SQRT1_2_F); }

// (1 + tanh(u)) / 2, which is 0 where a tanh that ends next to -1 leaves something for large x to multiply.
inline floatv gelu_tanh_share(floatv x) {
  return 1.0f / (1.0f + exp(-1.5957691216057308f * (x + 0.044715f * x * x * x)));
}

CALLED floatv unary_function(int code, floatv x, float a, float b) {
  const floatv zero = 0.0f;
  const floatv one = 1.0f;
  switch (code) {
    case UNARY_IDENTITY: return x;
    case UNARY_RELU: return x < zero ? zero : x;
    case UNARY_LEAKY_RELU: return x < zero ? a * x : x;
    case UNARY_ELU: return x < zero ? a * expm1(x) : x;
    case UNARY_SELU: return x > zero ? b * x : b * a * expm1(x);
    case UNARY_SIGMOID: return one / (one + exp(-x));
    case UNARY_HARD_SIGMOID: {
      const floatv line = a * x + b;
      return line < zero ? zero : line > one ? one : line;
    }
    case UNARY_HARD_SWISH: return x * clamp(x / 6.0f + 0.5f, zero, one);
    case UNARY_TANH: return tanh(x);
    case UNARY_SOFTPLUS: return fmax(x, zero) + log1p(exp(-fabs(x)));
    case UNARY_ERF: return erf(x);
    case UNARY_GELU: return x * gelu_cdf(x);
    case UNARY_GELU_TANH: return x * gelu_tanh_share(x);
    case UNARY_CLIP: return x < a ? (floatv)(a) : x > b ? (floatv)(b) : x;
    case UNARY_SQUARE_ROOT: return sqrt(x);
    case UNARY_EXPONENTIAL: return exp(x);
    case UNARY_LOGARITHM: return log(x);
    case UNARY_NEGATE: return -x;
    case UNARY_ABSOLUTE: return fabs(x);
    case UNARY_RECIPROCAL: return one / x;
    case UNARY_FLOOR: return floor(x);
    case UNARY_CEILING: return ceil(x);
    case UNARY_SIGN: return x > zero ? one : x < zero ? -one : x;
  }
  return x;
}

// The derivative at `v`, which is the function's output where the operator says that the derivative reads it
// (relu, sigmoid, tanh, square root, exponential, reciprocal, leaky relu with a > 0) and its input elsewhere.
CALLED floatv unary_derivative(int code, floatv v, float a, float b) {
  const floatv zero = 0.0f;
  const floatv one = 1.0f;
  switch (code) {
    case UNARY_IDENTITY: return one;
    case UNARY_RELU: return v > zero ? one : zero;
    case UNARY_LEAKY_RELU: return v > zero ? one : (floatv)(a);
    case UNARY_ELU: return v > zero ? one : a * exp(v);
    case UNARY_SELU: return v > zero ? (floatv)(b) : b * a * exp(v);
    case UNARY_SIGMOID: return v * (one - v);
    case UNARY_HARD_SIGMOID: return (a * v + b > zero) && (a * v + b < one) ? (floatv)(a) : zero;
    case UNARY_HARD_SWISH: return v <= -3.0f ? zero : v >= 3.0f ? one : v / 3.0f + 0.5f;
    case UNARY_TANH: return one - v * v;
    case UNARY_SOFTPLUS: return one / (one + exp(-v));
    case UNARY_ERF: return M_2_SQRTPI_F * exp(-v * v);
    case UNARY_GELU: return gelu_cdf(v) + v * 0.3989422804014327f * exp(-0.5f * v * v);
    case UNARY_GELU_TANH: {
      const floatv share = gelu_tanh_share(v);
      return share + v * share * (one - share) * 1.5957691216057308f * (one + 0.134145f * v * v);
    }
    case UNARY_CLIP: return (v >= a) && (v <= b) ? one : zero;
    case UNARY_SQUARE_ROOT: return 0.5f / v;
    case UNARY_EXPONENTIAL: return v;
    case UNARY_LOGARITHM: return one / v;
    case UNARY_NEGATE: return -one;
    case UNARY_ABSOLUTE: return v > zero ? one : v < zero ? -one : zero;
    case UNARY_RECIPROCAL: return -v * v;
  }
  return zero;
}

// The gradient through a function: a derivative of 0 lets nothing pass where the function does not look at its input.
CALLED floatv unary_gradient(int code, floatv gradient, floatv v, float a, float b) {
  const floatv slope = unary_derivative(code, v, a, b);
  const bool selects = code == UNARY_RELU || code == UNARY_CLIP || code == UNARY_HARD_SIGMOID ||
                       code == UNARY_HARD_SWISH || code == UNARY_ABSOLUTE;
  return selects && slope == (floatv)(0.0f) ? (floatv)(0.0f) : gradient * slope;
}

CALLED floatv binary_function(int code, floatv x, floatv y) {
  switch (code) {
    case BINARY_ADD: return x + y;
    case BINARY_SUBTRACT: return x - y;
    case BINARY_MULTIPLY: return x * y;
    case BINARY_DIVIDE: return x / y;
    case BINARY_POWER: return pow(x, y);
    // Not a number when one operand is none.
    case BINARY_MINIMUM: return isnan(x) || x < y ? x : y;
    case BINARY_MAXIMUM: return isnan(x) || x > y ? x : y;
    case BINARY_PRELU: return x < (floatv)(0.0f) ? y * x : x;
    // The remainder with the divisor's sign.
    case BINARY_MODULO: {
      const floatv remainder = fmod(x, y);
      return remainder != (floatv)(0.0f) && (remainder < (floatv)(0.0f)) != (y < (floatv)(0.0f)) ? remainder + y
                                                                                               : remainder;
    }
  }
  return x;
}
