// Inside this target: how kernels become steps, and how they share work among threads.
#pragma once

#include "COneDNN.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

// Compiled once per instruction set; the best that the processor has is taken at load time.
#if defined(__x86_64__)
#define CATENA_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
// For the best of them, if it rounds to bf16 by one instruction.
#define CATENA_ROUNDING __attribute__((target("arch=x86-64-v4,avx512bf16")))
#else
#define CATENA_VECTORISED
#define CATENA_ROUNDING
#endif
#define CATENA_INLINE static inline __attribute__((always_inline))

// Whether functions that are compiled so may be called.
CATENA_INLINE bool catena_can_round(void) {
#if defined(__x86_64__)
  return __builtin_cpu_supports("x86-64-v4") && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

typedef catena_status (*catena_step_function)(const void *arguments);

// Adds a step; its arguments, zeroed, live as long as the program. `release` may be NULL.
void *catena_add_step(
  catena_program *program, catena_step_function run, size_t argument_bytes, void (*release)(void *arguments));

static const catena_status catena_success = {0, NULL};

// libgomp's own entry points: its team is the one thread pool, shared with oneDNN and OpenBLAS.
extern void GOMP_parallel(void (*body)(void *), void *data, unsigned thread_count, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

// Whether the calling thread runs a block of samples by itself; see blocks.c.
extern _Thread_local bool catena_runs_alone;

// The calling thread's number among those that run a kernel, and how many they are.
CATENA_INLINE int64_t catena_thread(void) { return catena_runs_alone ? 0 : omp_get_thread_num(); }
CATENA_INLINE int64_t catena_thread_count(void) { return catena_runs_alone ? 1 : omp_get_num_threads(); }

// Work below this many elements is done by one thread: a team costs some microseconds.
enum { CATENA_SERIAL_WORK = 16384 };

CATENA_INLINE void catena_parallel(void (*body)(void *), const void *data, int64_t work) {
  if (work < CATENA_SERIAL_WORK || catena_runs_alone) {
    body((void *)data);
  } else {
    GOMP_parallel(body, (void *)data, 0, 0);
  }
}

typedef struct {
  int64_t begin, end;
} catena_range;

// The calling thread's share of `count` units: contiguous, and fixed by the number of threads.
CATENA_INLINE catena_range catena_share(int64_t count) {
  int64_t threads = catena_thread_count();
  int64_t thread = catena_thread();
  return (catena_range){count * thread / threads, count * (thread + 1) / threads};
}

CATENA_INLINE int64_t catena_minimum(int64_t left, int64_t right) { return left < right ? left : right; }
CATENA_INLINE int64_t catena_maximum(int64_t left, int64_t right) { return left > right ? left : right; }

// Into parts of how many rows, at most `most`, to cut each of `images` images of `rows` rows, so that the threads' shares
// are even: where there are few parts, one more or less is much.
CATENA_INLINE int64_t catena_even_part(int64_t rows, int64_t images, int64_t most, int64_t threads) {
  enum { MANY = 8 };
  int64_t count = catena_maximum((rows + most - 1) / most, 1);
  while (images * count % threads != 0 && images * count < MANY * threads && count < rows) count += 1;
  return catena_maximum((rows + count - 1) / count, 1);
}

// Merges neighbouring axes that every operand walks as one, and drops axes of extent 1. `strides` has one row of
// CATENA_MAX_RANK per operand. Returns the new rank, at least 1.
int32_t catena_collapse(
  int32_t rank, int64_t *extents, int32_t operand_count, int64_t (*strides)[CATENA_MAX_RANK]);
