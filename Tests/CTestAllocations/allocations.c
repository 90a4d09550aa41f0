// Counts allocations, of the heap and of large pages, by standing before the C library's functions. The definitions here
// come first in the order in which the dynamic linker looks for a symbol, because this object is linked into the executable
// that runs the tests.
#define _GNU_SOURCE

#include "CTestAllocations.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *pointer, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *pointer);

static atomic_bool counting;
static atomic_int_fast64_t count;
static atomic_int_fast64_t bytes;
static atomic_int_fast64_t held;
static atomic_int_fast64_t peak;

static bool is_counting(void) { return atomic_load_explicit(&counting, memory_order_relaxed); }

// What a block occupies, not what was asked for: only that is known again when it is freed.
static void hold(int_fast64_t size) {
  int_fast64_t now = atomic_fetch_add_explicit(&held, size, memory_order_relaxed) + size;
  int_fast64_t most = atomic_load_explicit(&peak, memory_order_relaxed);
  while (now > most && !atomic_compare_exchange_weak_explicit(&peak, &most, now, memory_order_relaxed,
                                                              memory_order_relaxed)) {
  }
}

static void *noted(void *pointer, size_t size) {
  if (!is_counting() || pointer == NULL) return pointer;
  atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&bytes, (int_fast64_t)size, memory_order_relaxed);
  hold((int_fast64_t)malloc_usable_size(pointer));
  return pointer;
}

static void forget(void *pointer) {
  if (is_counting() && pointer != NULL) hold(-(int_fast64_t)malloc_usable_size(pointer));
}

void *malloc(size_t size) { return noted(__libc_malloc(size), size); }

void *calloc(size_t number, size_t size) { return noted(__libc_calloc(number, size), number * size); }

void *realloc(void *pointer, size_t size) {
  forget(pointer);
  return noted(__libc_realloc(pointer, size), size);
}

void *memalign(size_t alignment, size_t size) { return noted(__libc_memalign(alignment, size), size); }

void *aligned_alloc(size_t alignment, size_t size) { return noted(__libc_memalign(alignment, size), size); }

int posix_memalign(void **pointer, size_t alignment, size_t size) {
  if (alignment % sizeof(void *) != 0 || (alignment & (alignment - 1)) != 0 || alignment == 0) return EINVAL;
  void *result = noted(__libc_memalign(alignment, size), size);
  if (result == NULL) return ENOMEM;
  *pointer = result;
  return 0;
}

void free(void *pointer) {
  forget(pointer);
  __libc_free(pointer);
}

// Large memory that is the system's own pages: where each piece begins, 0 for a free place. The C library's own pages do
// not come by here.
#define LEAST_MAPPED (1 << 20)
#define PLACES 256
static _Atomic uintptr_t mapped[PLACES];

static void *note_mapped(void *pointer, size_t size) {
  for (int i = 0; i < PLACES; i++) {
    uintptr_t none = 0;
    if (!atomic_compare_exchange_strong(&mapped[i], &none, (uintptr_t)pointer)) continue;
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&bytes, (int_fast64_t)size, memory_order_relaxed);
    hold((int_fast64_t)size);
    break;
  }
  return pointer;
}

void *mmap(void *place, size_t size, int protection, int flags, int file, off_t offset) {
  void *pointer = (void *)syscall(SYS_mmap, place, size, protection, flags, file, offset);
  bool is_memory = (flags & MAP_ANONYMOUS) && (protection & PROT_WRITE) && size >= LEAST_MAPPED;
  return is_counting() && is_memory && pointer != MAP_FAILED ? note_mapped(pointer, size) : pointer;
}

int munmap(void *pointer, size_t size) {
  for (int i = 0; i < PLACES; i++) {
    uintptr_t known = (uintptr_t)pointer;
    if (!atomic_compare_exchange_strong(&mapped[i], &known, 0)) continue;
    if (is_counting()) hold(-(int_fast64_t)size);
    break;
  }
  return (int)syscall(SYS_munmap, pointer, size);
}

void catena_allocations_start(void) {
  atomic_store(&count, 0);
  atomic_store(&bytes, 0);
  atomic_store(&held, 0);
  atomic_store(&peak, 0);
  atomic_store(&counting, true);
}

void catena_allocations_stop(void) { atomic_store(&counting, false); }

int64_t catena_allocations_count(void) { return atomic_load(&count); }

int64_t catena_allocations_bytes(void) { return atomic_load(&bytes); }

int64_t catena_allocations_held(void) { return atomic_load(&held); }

int64_t catena_allocations_peak(void) { return atomic_load(&peak); }
