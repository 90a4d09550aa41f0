#include "program.h"

#include <sched.h>
#include <time.h>

typedef struct {
  catena_step_function run;
  void *arguments;
  void (*release)(void *arguments);
} step;

struct catena_program {
  step *steps;
  size_t count, capacity;
};

// Allocation failures of a few bytes end the process as they do in Swift itself.
static void *checked(void *memory) {
  if (memory == NULL) abort();
  return memory;
}

catena_program *catena_program_create(void) { return checked(calloc(1, sizeof(catena_program))); }

void catena_program_destroy(catena_program *program) {
  for (size_t i = 0; i < program->count; i++) {
    if (program->steps[i].release != NULL) program->steps[i].release(program->steps[i].arguments);
    free(program->steps[i].arguments);
  }
  free(program->steps);
  free(program);
}

size_t catena_program_step_count(const catena_program *program) { return program->count; }

void *catena_add_step(
  catena_program *program, catena_step_function run, size_t argument_bytes, void (*release)(void *arguments)
) {
  if (program->count == program->capacity) {
    program->capacity = program->capacity == 0 ? 64 : 2 * program->capacity;
    program->steps = checked(realloc(program->steps, program->capacity * sizeof(step)));
  }
  void *arguments = checked(calloc(1, argument_bytes));
  program->steps[program->count++] = (step){run, arguments, release};
  return arguments;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

catena_status catena_program_run(const catena_program *program, double *seconds) {
  for (size_t i = 0; i < program->count; i++) {
    double begin = seconds == NULL ? 0 : now();
    catena_status status = program->steps[i].run(program->steps[i].arguments);
    if (status.call != NULL) return status;
    if (seconds != NULL) seconds[i] = now() - begin;
  }
  return catena_success;
}

int32_t catena_allowed_processors(void) {
  cpu_set_t mask;
  return sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 0;
}

int32_t catena_collapse(
  int32_t rank, int64_t *extents, int32_t operand_count, int64_t (*strides)[CATENA_MAX_RANK]
) {
  int32_t kept = 0;
  for (int32_t axis = 0; axis < rank; axis++) {
    if (extents[axis] == 1) continue;
    bool merges = kept > 0;
    for (int32_t i = 0; merges && i < operand_count; i++) {
      merges = strides[i][kept - 1] == strides[i][axis] * extents[axis];
    }
    if (!merges) kept += 1;
    extents[kept - 1] = merges ? extents[kept - 1] * extents[axis] : extents[axis];
    for (int32_t i = 0; i < operand_count; i++) strides[i][kept - 1] = strides[i][axis];
  }
  if (kept == 0) {
    extents[0] = 1;
    for (int32_t i = 0; i < operand_count; i++) strides[i][0] = 0;
    return 1;
  }
  return kept;
}
