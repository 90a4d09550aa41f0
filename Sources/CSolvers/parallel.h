// Inside this target: how kernels share work among threads, and the entry points of libraries that they call.
#pragma once

#include "CSolvers.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Compiled once per instruction set; the best that the processor has is taken at load time.
#if defined(__x86_64__)
#define CATENA_VECTORISED __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CATENA_VECTORISED
#endif
#define CATENA_INLINE static inline __attribute__((always_inline))

// libgomp's own entry points: its team is the one thread pool, shared with oneDNN and OpenBLAS.
extern void GOMP_parallel(void (*body)(void *), void *data, unsigned thread_count, unsigned flags);
extern int omp_get_thread_num(void);
extern int omp_get_num_threads(void);

// LAPACK, which is column-major: its upper triangle is the lower one of a row-major matrix.
extern void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);
extern void strtri_(const char *uplo, const char *diagonal, const int *n, float *a, const int *lda, int *info);
extern void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotri_(const char *uplo, const int *n, double *a, const int *lda, int *info);
extern void dpotrs_(
  const char *uplo, const int *n, const int *count, const double *a, const int *lda, double *b, const int *ldb,
  int *info);

// Work below this many elements is done by one thread: a team costs some microseconds.
enum { CATENA_SERIAL_WORK = 16384 };

CATENA_INLINE void catena_parallel(void (*body)(void *), void *data, int64_t work) {
  if (work < CATENA_SERIAL_WORK) {
    body(data);
  } else {
    GOMP_parallel(body, data, 0, 0);
  }
}

typedef struct {
  int64_t begin, end;
} catena_range;

// The calling thread's share of `count` units: contiguous, and fixed by the number of threads.
CATENA_INLINE catena_range catena_share(int64_t count) {
  int64_t threads = omp_get_num_threads();
  int64_t thread = omp_get_thread_num();
  return (catena_range){count * thread / threads, count * (thread + 1) / threads};
}

CATENA_INLINE int64_t catena_minimum(int64_t left, int64_t right) { return left < right ? left : right; }
CATENA_INLINE int64_t catena_maximum(int64_t left, int64_t right) { return left > right ? left : right; }
