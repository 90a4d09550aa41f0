// A part of a program that runs once per block of samples: every lane, a thread with memory of its own, takes the next
// block as soon as it is free, so that a block's values stay in that processor's caches and no kernel waits for others.
#include "program.h"

#include <stdatomic.h>

// Set while a thread runs blocks by itself: its kernels start no team.
_Thread_local bool catena_runs_alone = false;

struct catena_blocks {
  catena_block_section section;
  catena_program **bodies;
  catena_crossing *crossings;
  void **locals;
  double *seconds, *lane_seconds;
  size_t body_steps;
  atomic_int_least64_t next;
  _Atomic(const char *) failed_call;
  atomic_int_least32_t failed_code;
};

static void *copy_of(const void *from, size_t bytes) {
  void *copy = malloc(bytes == 0 ? 1 : bytes);
  if (copy == NULL) abort();
  memcpy(copy, from, bytes);
  return copy;
}

static char *outside(const catena_crossing *crossing, int64_t block) {
  return (char *)crossing->data + block / crossing->blocks_per_part * crossing->stride_bytes;
}

static void run_block(catena_blocks *blocks, int64_t block, int32_t lane) {
  const catena_block_section *section = &blocks->section;
  void *const *locals = blocks->locals + (int64_t)lane * section->crossing_count;
  for (int32_t i = 0; i < section->crossing_count; i++) {
    const catena_crossing *crossing = &blocks->crossings[i];
    if (!crossing->is_output) memcpy(locals[i], outside(crossing, block), crossing->bytes);
  }
  double *seconds = blocks->seconds == NULL ? NULL : blocks->lane_seconds;
  catena_status status = catena_program_run(blocks->bodies[lane], seconds);
  for (size_t i = 0; seconds != NULL && i < blocks->body_steps; i++) blocks->seconds[i] += seconds[i] / section->lanes;
  if (status.call != NULL) {
    atomic_store(&blocks->failed_code, status.code);
    atomic_store(&blocks->failed_call, status.call);
  }
  for (int32_t i = 0; i < section->crossing_count; i++) {
    const catena_crossing *crossing = &blocks->crossings[i];
    if (crossing->is_output) memcpy(outside(crossing, block), locals[i], crossing->bytes);
  }
}

static void run_lane(void *arguments) {
  catena_blocks *blocks = arguments;
  int32_t lane = omp_get_thread_num();
  if (lane >= blocks->section.lanes) return;
  catena_runs_alone = blocks->section.lanes > 1;
  for (;;) {
    int64_t block = atomic_fetch_add(&blocks->next, 1);
    if (block >= blocks->section.blocks) break;
    run_block(blocks, block, lane);
  }
  catena_runs_alone = false;
}

// Sums of blocks, added up in their order, so that they do not depend on which lane made which.
static void add_up(const catena_crossing *crossing, int64_t blocks) {
  int64_t count = (int64_t)(crossing->bytes / sizeof(float));
  int64_t parts = blocks / crossing->blocks_per_sum;
  const float *partials = crossing->data;
  for (int64_t part = 0; part < parts; part++) {
    const float *first = partials + part * crossing->blocks_per_sum * count;
    for (int64_t i = 0; i < count; i++) {
      double total = 0;
      for (int64_t block = 0; block < crossing->blocks_per_sum; block++) total += first[block * count + i];
      crossing->sums[part * count + i] = (float)total;
    }
  }
}

static catena_status run_blocks(const void *arguments) {
  catena_blocks *blocks = *(catena_blocks *const *)arguments;
  const catena_block_section *section = &blocks->section;
  atomic_store(&blocks->next, 0);
  atomic_store(&blocks->failed_call, NULL);
  if (blocks->seconds != NULL) {
    memset(blocks->seconds, 0, blocks->body_steps * sizeof(double));
    // One lane alone: times of single kernels must not depend on what the others do.
    for (int64_t block = 0; block < section->blocks; block++) {
      catena_runs_alone = section->lanes > 1;
      run_block(blocks, block, 0);
      catena_runs_alone = false;
    }
  } else if (section->lanes > 1) {
    GOMP_parallel(run_lane, blocks, (unsigned)section->lanes, 0);
  } else {
    for (int64_t block = 0; block < section->blocks; block++) run_block(blocks, block, 0);
  }
  for (int32_t i = 0; i < section->crossing_count; i++) {
    if (blocks->crossings[i].sums != NULL) add_up(&blocks->crossings[i], section->blocks);
  }
  return (catena_status){atomic_load(&blocks->failed_code), atomic_load(&blocks->failed_call)};
}

static void release_blocks(void *arguments) {
  catena_blocks *blocks = *(catena_blocks **)arguments;
  for (int32_t lane = 0; lane < blocks->section.lanes; lane++) catena_program_destroy(blocks->bodies[lane]);
  free(blocks->bodies);
  free(blocks->crossings);
  free(blocks->locals);
  free(blocks->lane_seconds);
  free(blocks);
}

catena_blocks *catena_add_blocks(
  catena_program *program, const catena_block_section *section, catena_program *const *bodies,
  const catena_crossing *crossings, void *const *locals
) {
  catena_blocks *blocks = calloc(1, sizeof(catena_blocks));
  if (blocks == NULL) abort();
  size_t lanes = (size_t)section->lanes, count = (size_t)section->crossing_count;
  blocks->section = *section;
  blocks->bodies = copy_of(bodies, lanes * sizeof(*bodies));
  blocks->crossings = copy_of(crossings, count * sizeof(*crossings));
  blocks->locals = copy_of(locals, lanes * count * sizeof(*locals));
  blocks->body_steps = catena_program_step_count(bodies[0]);
  blocks->lane_seconds = calloc(blocks->body_steps + 1, sizeof(double));
  if (blocks->lane_seconds == NULL) abort();
  *(catena_blocks **)catena_add_step(program, run_blocks, sizeof(blocks), release_blocks) = blocks;
  return blocks;
}

void catena_time_blocks(catena_blocks *blocks, double *seconds) { blocks->seconds = seconds; }
