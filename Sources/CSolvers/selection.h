// Inside this target: the k-th smallest of many numbers.
#pragma once

#include "parallel.h"

#define CATENA_SELECT(NAME, TYPE) \
  /* Reorders `values` until the element at `k` is the one that sorting would put there; returns it. */ \
  CATENA_INLINE TYPE NAME(TYPE *values, int64_t count, int64_t k) { \
    int64_t low = 0, high = count - 1; \
    while (low < high) { \
      TYPE pivot = values[low + (high - low) / 2]; \
      int64_t i = low, j = high; \
      while (i <= j) { \
        while (values[i] < pivot) i++; \
        while (pivot < values[j]) j--; \
        if (i <= j) { \
          TYPE moved = values[i]; \
          values[i++] = values[j]; \
          values[j--] = moved; \
        } \
      } \
      if (k <= j) high = j; \
      else if (k >= i) low = i; \
      else return values[k]; \
    } \
    return values[k]; \
  }
