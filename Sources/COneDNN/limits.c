// The simplest loops: how fast they are is what other kernels are measured against.
#include "panels.h"

// MARK: Multiply-adds

// SUMS independent sums in registers, `rounds` times; as many multiply-adds as SUMS x LANES x rounds.
#define MULTIPLY_ADDS(SUMS) \
  CATENA_INLINE void multiply_adds_##SUMS(int64_t rounds, float *total) { \
    vector sums[SUMS], factor = broadcast(*total); \
    UNROLL for (int32_t i = 0; i < SUMS; i++) sums[i] = broadcast((float)i); \
    for (int64_t round = 0; round < rounds; round++) { \
      UNROLL for (int32_t i = 0; i < SUMS; i++) sums[i] = sums[i] * factor + factor; \
    } \
    vector all = sums[0]; \
    UNROLL for (int32_t i = 1; i < SUMS; i++) all += sums[i]; \
    for (int32_t i = 0; i < LANES; i++) *total += all[i]; \
  }

// Twelve hide the latency of processors with two wide units; six are what sixteen narrower registers hold.
MULTIPLY_ADDS(6)
MULTIPLY_ADDS(12)

CATENA_VECTORISED
static float multiply_adds(int64_t rounds, bool is_wide) {
  float total = 0.5f;
  if (is_wide) {
    multiply_adds_12(rounds, &total);
  } else {
    multiply_adds_6(rounds, &total);
  }
  return total;
}

typedef struct {
  int64_t rounds;
  bool is_wide;
} multiply_add_work;

static void multiply_add_share(void *arguments) {
  const multiply_add_work *work = arguments;
  // Nobody reads it: the loop must not be left out.
  volatile float kept = multiply_adds(work->rounds, work->is_wide);
  (void)kept;
}

int64_t catena_multiply_adds(int64_t rounds, bool is_wide) {
  multiply_add_work work = {rounds, is_wide};
  GOMP_parallel(multiply_add_share, &work, 0, 0);
  return rounds * (is_wide ? 12 : 6) * LANES;
}

// MARK: Copies

typedef struct {
  char *to;
  const char *from;
  int64_t bytes, times;
} copy_work;

static void copy_part_of_block(void *arguments) {
  const copy_work *work = arguments;
  catena_range share = catena_share(work->bytes);
  for (int64_t i = 0; i < work->times; i++) {
    memcpy(work->to + share.begin, work->from + share.begin, (size_t)(share.end - share.begin));
    // Every copy counts, though the next writes the same.
    __asm__ volatile("" ::: "memory");
  }
}

void catena_copy_block(void *to, const void *from, int64_t bytes, int64_t times) {
  copy_work work = {to, from, bytes, times};
  GOMP_parallel(copy_part_of_block, &work, 0, 0);
}
