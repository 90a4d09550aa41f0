#ifndef CATENA_TEST_ALLOCATIONS_H
#define CATENA_TEST_ALLOCATIONS_H

#include <stdint.h>

/// Begins to count the process's allocations, of all threads, from zero.
void catena_allocations_start(void);

/// Ends counting.
void catena_allocations_stop(void);

/// The allocations counted since the last start: malloc, calloc, realloc, aligned_alloc, posix_memalign, memalign,
/// and mmap of 1 MiB and more without a file.
int64_t catena_allocations_count(void);

/// The bytes that these allocations asked for.
int64_t catena_allocations_bytes(void);

/// The bytes that are occupied now beyond those at the last start; negative when more was freed than allocated.
int64_t catena_allocations_held(void);

/// The most bytes that were occupied at once beyond those at the last start.
int64_t catena_allocations_peak(void);

#endif
