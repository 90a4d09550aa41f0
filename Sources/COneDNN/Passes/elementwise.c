// Walks the elements in blocks and runs the instructions on each: a chain of element-wise operators, with sums over
// axes at its ends, passes over memory once.
#include "elementwise.h"

typedef struct {
  catena_walk walk;
  int32_t instruction_count, slot_count;
  bool is_integer, is_gate_pass;
  catena_instruction *instructions;
  // Of each instruction, NULL where none is; and, as bits, the operands that they read or write as bf16 where it lies.
  catena_narrow *narrow;
  uint32_t narrow_operands;
  // Whether every operand is used where it lies, by one instruction: blocks may then be longer than lanes.
  bool is_stream;
  catena_gate_pass gate_pass;
  // A block is `rows` rows of `row_length` elements: a piece of one row, or several whole rows.
  int64_t rows, row_length, row_blocks, pieces, units, elements;
  // Distinct elements of each sum, and where its partial sums begin in a thread's share of the scratch memory.
  int64_t cells[CATENA_MAX_OPERANDS], first_cell[CATENA_MAX_OPERANDS], cell_count;
  int32_t threads;
  // How many threads took part in the last run, then per thread the partial sums.
  int64_t *active;
  double *partials;
} elementwise_step;

enum { SCRATCH_HEADER = 64, LANES_OF_SLOT = CATENA_BLOCK + CATENA_LANES, LONG_BLOCK = 8 * CATENA_BLOCK };

static void plan_blocks(elementwise_step *step) {
  step->elements = 1;
  for (int32_t axis = 0; axis < step->walk.rank; axis++) step->elements *= step->walk.extents[axis];
  int64_t inner = step->walk.extents[step->walk.rank - 1];
  int64_t rows = step->walk.rank > 1 ? step->walk.extents[step->walk.rank - 2] : 1;
  step->units = 0;
  if (step->elements == 0) return;
  step->row_length = catena_minimum(inner, step->is_stream ? LONG_BLOCK : CATENA_BLOCK);
  step->rows = inner > CATENA_BLOCK / 2 ? 1 : catena_minimum(rows, CATENA_BLOCK / inner);
  step->pieces = (inner + step->row_length - 1) / step->row_length;
  step->row_blocks = (rows + step->rows - 1) / step->rows;
  step->units = step->pieces * step->row_blocks;
  for (int32_t axis = 0; axis < step->walk.rank - 2; axis++) step->units *= step->walk.extents[axis];
}

static void count_cells(elementwise_step *step) {
  for (int32_t i = 0; i < step->walk.operand_count; i++) {
    if (step->walk.operands[i].role != CATENA_SUM) continue;
    step->cells[i] = 1;
    for (int32_t axis = 0; axis < step->walk.rank; axis++) {
      step->cells[i] += (step->walk.extents[axis] - 1) * step->walk.strides[i][axis];
    }
    step->first_cell[i] = step->cell_count;
    step->cell_count += step->cells[i];
  }
}

static void prepare(
  elementwise_step *step, int32_t rank, const int64_t *extents, int32_t operand_count, const catena_operand *operands,
  const int64_t *strides, int32_t threads
) {
  step->walk.operand_count = operand_count;
  step->threads = threads;
  memcpy(step->walk.extents, extents, (size_t)rank * sizeof(int64_t));
  memcpy(step->walk.operands, operands, (size_t)operand_count * sizeof(catena_operand));
  for (int32_t i = 0; i < operand_count; i++) {
    memcpy(step->walk.strides[i], strides + i * rank, (size_t)rank * sizeof(int64_t));
  }
  step->walk.rank = catena_collapse(rank, step->walk.extents, operand_count, step->walk.strides);
  count_cells(step);
  plan_blocks(step);
}

size_t catena_elementwise_scratch(
  int32_t rank, const int64_t *extents, int32_t operand_count, const catena_operand *operands, const int64_t *strides,
  int32_t threads
) {
  elementwise_step step = {0};
  prepare(&step, rank, extents, operand_count, operands, strides, threads);
  return step.cell_count == 0 ? 0 : SCRATCH_HEADER + (size_t)(step.cell_count * threads) * sizeof(double);
}

typedef struct {
  // Where its rows begin on the innermost axis.
  int64_t first;
  int64_t rows, length;
  int64_t offsets[CATENA_MAX_OPERANDS];
} block;

static block locate(const elementwise_step *step, int64_t unit) {
  block result = {0};
  int32_t inner = step->walk.rank - 1;
  int64_t piece = unit % step->pieces;
  unit /= step->pieces;
  result.first = piece * step->row_length;
  result.length = catena_minimum(step->row_length, step->walk.extents[inner] - result.first);
  for (int32_t i = 0; i < step->walk.operand_count; i++) {
    result.offsets[i] = result.first * step->walk.strides[i][inner];
  }
  result.rows = 1;
  if (step->walk.rank > 1) {
    int64_t row = unit % step->row_blocks * step->rows;
    unit /= step->row_blocks;
    result.rows = catena_minimum(step->rows, step->walk.extents[inner - 1] - row);
    for (int32_t i = 0; i < step->walk.operand_count; i++) result.offsets[i] += row * step->walk.strides[i][inner - 1];
  }
  for (int32_t axis = inner - 2; axis >= 0; axis--) {
    int64_t index = unit % step->walk.extents[axis];
    unit /= step->walk.extents[axis];
    for (int32_t i = 0; i < step->walk.operand_count; i++) result.offsets[i] += index * step->walk.strides[i][axis];
  }
  return result;
}

static int64_t row_stride(const elementwise_step *step, int32_t operand) {
  return step->walk.rank > 1 ? step->walk.strides[operand][step->walk.rank - 2] : 0;
}

static_assert(CATENA_MAX_OPERANDS <= 32, "operands are bits");

static bool is_narrow(const elementwise_step *step, int32_t operand) {
  return operand < step->walk.operand_count && (step->narrow_operands >> operand & 1) != 0;
}

// Whether a block of the operand lies in memory as the instructions need it.
static bool is_direct(const elementwise_step *step, int32_t operand, const block *at) {
  if (is_narrow(step, operand)) return true;
  if (catena_is_mapped(&step->walk, operand)) return false;
  bool is_lane_type = step->walk.operands[operand].type == (step->is_integer ? CATENA_I64 : CATENA_F32);
  return is_lane_type && step->walk.operands[operand].role != CATENA_SUM
    && (step->walk.strides[operand][step->walk.rank - 1] == 1 || at->length == 1)
    && (at->rows == 1 || row_stride(step, operand) == at->length);
}

static char *address(const elementwise_step *step, int32_t operand, const block *at) {
  const catena_operand *memory = &step->walk.operands[operand];
  return (char *)memory->data + at->offsets[operand] * catena_type_bytes(memory->type);
}

// The rows of an operand's block: one where they follow on each other.
typedef struct {
  int64_t count, length, stride, bytes;
} operand_rows;

static operand_rows rows_of(const elementwise_step *step, int32_t operand, const block *at) {
  int64_t stride = step->walk.strides[operand][step->walk.rank - 1];
  if (at->rows == 1 || row_stride(step, operand) == stride * at->length) {
    return (operand_rows){1, at->rows * at->length, stride, 0};
  }
  int64_t bytes = row_stride(step, operand) * catena_type_bytes(step->walk.operands[operand].type);
  return (operand_rows){at->rows, at->length, stride, bytes};
}

static void load(const elementwise_step *step, int32_t operand, const block *at, void *lanes) {
  catena_type type = step->walk.operands[operand].type;
  const char *source = address(step, operand, at);
  operand_rows rows = rows_of(step, operand, at);
  if (rows.bytes == 0 && rows.count > 1) {
    // One row that repeats: once, then twice as many each time.
    block first = *at;
    first.rows = 1;
    load(step, operand, &first, lanes);
    size_t row = (size_t)rows.length * (step->is_integer ? sizeof(int64_t) : sizeof(float));
    size_t all = (size_t)rows.count * row;
    for (size_t done = row; done < all; done *= 2) {
      memcpy((char *)lanes + done, lanes, done < all - done ? done : all - done);
    }
    return;
  }
  for (int64_t row = 0; row < rows.count; row++, source += rows.bytes) {
    if (step->is_integer) {
      catena_load_integer(type, source, rows.stride, rows.length, (int64_t *)lanes + row * rows.length);
    } else {
      catena_load_float(type, source, rows.stride, rows.length, (float *)lanes + row * rows.length);
    }
  }
}

static void store(const elementwise_step *step, int32_t operand, const block *at, const void *lanes) {
  catena_type type = step->walk.operands[operand].type;
  char *destination = address(step, operand, at);
  operand_rows rows = rows_of(step, operand, at);
  for (int64_t row = 0; row < rows.count; row++, destination += rows.bytes) {
    if (step->is_integer) {
      catena_store_integer(type, (const int64_t *)lanes + row * rows.length, destination, rows.stride, rows.length);
    } else {
      catena_store_float(type, (const float *)lanes + row * rows.length, destination, rows.stride, rows.length);
    }
  }
}

// Adds the rows of a block to one row of cells.
CATENA_VECTORISED
static void add_rows(const float *lanes, int64_t rows, int64_t length, double *cells) {
  enum { WIDE = 128 };
  float sums[CATENA_BLOCK];
  // Short rows go together, so that they fill vectors.
  int64_t together = 1;
  while (2 * together <= rows && 2 * together * length <= WIDE) together *= 2;
  int64_t width = together * length, count = rows * length, next = width;
  for (int64_t i = 0; i < width; i++) sums[i] = lanes[i];
  for (; next < count; next += width) {
    int64_t here = catena_minimum(count - next, width);
#pragma clang loop vectorize(assume_safety)
    for (int64_t i = 0; i < here; i++) sums[i] += lanes[next + i];
  }
  for (width /= 2; width >= length; width /= 2) {
#pragma clang loop vectorize(assume_safety)
    for (int64_t i = 0; i < width; i++) sums[i] += sums[width + i];
  }
  for (int64_t i = 0; i < length; i++) cells[i] += sums[i];
}

CATENA_VECTORISED
static void add_lanes(const float *lanes, int64_t count, double *cell) {
  enum { WIDTH = 16 };
  float sums[WIDTH] = {0};
  int64_t i = 0;
  for (; i + WIDTH <= count; i += WIDTH) {
    for (int64_t j = 0; j < WIDTH; j++) sums[j] += lanes[i + j];
  }
  double total = 0;
  for (; i < count; i++) total += lanes[i];
  for (int64_t j = 0; j < WIDTH; j++) total += sums[j];
  *cell += total;
}

static void accumulate(
  const elementwise_step *step, int32_t operand, const block *at, const float *lanes, double *cells
) {
  int64_t stride = step->walk.strides[operand][step->walk.rank - 1];
  int64_t rows = row_stride(step, operand);
  cells += step->first_cell[operand] + at->offsets[operand];
  if (stride == 1 && rows == 0) {
    add_rows(lanes, at->rows, at->length, cells);
  } else if (stride == 0 && rows == 0) {
    add_lanes(lanes, at->rows * at->length, cells);
  } else if (stride == 0) {
    for (int64_t row = 0; row < at->rows; row++) add_lanes(lanes + row * at->length, at->length, cells + row * rows);
  } else {
    for (int64_t row = 0; row < at->rows; row++) {
      for (int64_t i = 0; i < at->length; i++) cells[row * rows + i * stride] += lanes[row * at->length + i];
    }
  }
}

// What a thread keeps from block to block: an operand that repeats need not be read again.
typedef struct {
  int64_t offset, rows, length;
} loaded;

// Whether it is kept already; it will be.
static bool is_held(loaded *held, loaded now) {
  bool result = held->offset == now.offset && held->rows == now.rows && held->length == now.length;
  *held = now;
  return result;
}

static void load_mapped(const elementwise_step *step, int32_t operand, const block *at, float *lanes) {
  catena_load_channels(
    step->walk.maps[operand], step->walk.operands[operand].type, address(step, operand, at), row_stride(step, operand),
    at->first, at->rows, at->length, lanes);
}

static void run_block(
  const elementwise_step *step, const block *at, char *lanes, size_t lane_bytes, loaded *held, double *cells
) {
  void *slots[CATENA_MAX_OPERANDS + CATENA_MAX_REGISTERS];
  int64_t count = at->rows * at->length;
  for (int32_t slot = 0; slot < step->slot_count; slot++) {
    slots[slot] = lanes + (size_t)slot * LANES_OF_SLOT * lane_bytes;
    if (slot >= step->walk.operand_count) continue;
    if (is_direct(step, slot, at)) {
      slots[slot] = address(step, slot, at);
    } else if (catena_is_mapped(&step->walk, slot)) {
      load_mapped(step, slot, at, slots[slot]);
    } else if (step->walk.operands[slot].role == CATENA_READ) {
      if (!is_held(&held[slot], (loaded){at->offsets[slot], at->rows, at->length})) load(step, slot, at, slots[slot]);
    }
  }
  for (int32_t i = 0; i < step->instruction_count; i++) {
    if (step->is_integer) {
      catena_execute_integer(&step->instructions[i], count, (int64_t *const *)slots);
    } else if (step->narrow != NULL && catena_is_narrow(step->narrow[i])) {
      catena_execute_narrow(&step->instructions[i], step->narrow[i], count, slots);
    } else {
      catena_execute_float(&step->instructions[i], count, (float *const *)slots);
    }
  }
  for (int32_t slot = 0; slot < step->walk.operand_count; slot++) {
    if (step->walk.operands[slot].role == CATENA_SUM) {
      accumulate(step, slot, at, slots[slot], cells);
    } else if (step->walk.operands[slot].role == CATENA_WRITE && !is_direct(step, slot, at)) {
      store(step, slot, at, slots[slot]);
    }
  }
}

// Sums of a gate pass, of rows side by side as blocks have them, or of all pieces of a row.
typedef struct {
  alignas(64) float lanes[CATENA_MOST_GATES][CATENA_MOST_GATED];
  // Where the sums' first cell is, and how many blocks they are of.
  int64_t first, blocks;
} gate_sums;

static void clear(const elementwise_step *step, gate_sums *sums) {
  size_t bytes = (size_t)(step->rows * step->walk.extents[step->walk.rank - 1]) * sizeof(float);
  for (int32_t i = 0; i < step->gate_pass.sum_count; i++) memset(sums->lanes[i], 0, bytes);
  sums->first = sums->blocks = 0;
}

static void flush(const elementwise_step *step, gate_sums *sums, double *cells) {
  if (sums->blocks == 0) return;
  int64_t inner = step->walk.extents[step->walk.rank - 1];
  for (int32_t i = 0; i < step->gate_pass.sum_count; i++) {
    double *first = cells + step->first_cell[step->gate_pass.sums[i].sum] + sums->first;
    for (int64_t piece = 0; piece < inner; piece += step->row_length) {
      int64_t length = catena_minimum(step->row_length, inner - piece);
      add_rows(sums->lanes[i] + piece, step->rows, length, first + piece);
    }
  }
  clear(step, sums);
}

// The gates of a block's elements.
static const float *gates_of(const elementwise_step *step, int32_t gate, const block *at, float *lanes, loaded *held) {
  if (at->rows == 1 && step->walk.operands[gate].type == CATENA_F32) return (const float *)address(step, gate, at);
  if (!is_held(held, (loaded){at->offsets[gate], at->rows, at->length})) load(step, gate, at, lanes);
  return lanes;
}

static void run_gate_share(const elementwise_step *step, double *cells) {
  // After so many blocks, numbers are added up in double.
  enum { MOST_BLOCKS = 16 };
  const catena_gate_pass *pass = &step->gate_pass;
  alignas(64) float lanes[CATENA_MOST_GATES][CATENA_BLOCK], source[LANES_OF_SLOT];
  loaded held[CATENA_MOST_GATES];
  for (int32_t i = 0; i < CATENA_MOST_GATES; i++) held[i] = (loaded){-1, -1, -1};
  gate_sums sums;
  clear(step, &sums);
  catena_range share = catena_share(step->units);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    block at = locate(step, unit);
    int64_t piece = unit % step->pieces * step->row_length;
    int64_t first = at.offsets[pass->sums[0].sum] - piece;
    if (first != sums.first || sums.blocks == MOST_BLOCKS * step->pieces) flush(step, &sums, cells);
    sums.first = first;
    sums.blocks += 1;
    void *slots[CATENA_MAX_OPERANDS];
    for (int32_t slot = 0; slot < step->walk.operand_count; slot++) slots[slot] = address(step, slot, &at);
    if (pass->is_source_mapped) {
      load_mapped(step, pass->source, &at, source);
      slots[pass->source] = source;
    }
    const float *gates[CATENA_MOST_GATES];
    float *added[CATENA_MOST_GATES];
    for (int32_t i = 0; i < CATENA_MOST_GATES; i++) {
      gates[i] = i < pass->gate_count ? gates_of(step, pass->gates[i].gate, &at, lanes[i], &held[i]) : NULL;
      added[i] = sums.lanes[i] + piece;
    }
    catena_run_gate_pass(pass, slots, gates, added, at.rows * at.length);
  }
  flush(step, &sums, cells);
}

static void run_share(void *arguments) {
  const elementwise_step *step = arguments;
  alignas(64) char lanes[(CATENA_MAX_OPERANDS + CATENA_MAX_REGISTERS) * LANES_OF_SLOT * sizeof(int64_t)];
  size_t lane_bytes = step->is_integer ? sizeof(int64_t) : sizeof(float);
  loaded held[CATENA_MAX_OPERANDS];
  for (int32_t i = 0; i < step->walk.operand_count; i++) held[i] = (loaded){-1, -1, -1};
  double *cells = NULL;
  if (step->cell_count > 0) {
    if (catena_thread() == 0) *step->active = catena_thread_count();
    cells = step->partials + catena_thread() * step->cell_count;
    memset(cells, 0, (size_t)step->cell_count * sizeof(double));
  }
  if (step->is_gate_pass) return run_gate_share(step, cells);
  catena_range share = catena_share(step->units);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    block at = locate(step, unit);
    run_block(step, &at, lanes, lane_bytes, held, cells);
  }
}

static void finish_sums(const elementwise_step *step) {
  for (int32_t operand = 0; operand < step->walk.operand_count; operand++) {
    if (step->walk.operands[operand].role != CATENA_SUM) continue;
    float *result = step->walk.operands[operand].data;
    for (int64_t cell = 0; cell < step->cells[operand]; cell++) {
      double total = 0;
      for (int64_t thread = 0; thread < *step->active; thread++) {
        total += step->partials[thread * step->cell_count + step->first_cell[operand] + cell];
      }
      result[cell] = (float)(total * (double)step->walk.operands[operand].scale);
    }
  }
}

static catena_status run_elementwise(const void *arguments) {
  const elementwise_step *step = arguments;
  catena_parallel(run_share, step, step->elements);
  if (step->cell_count > 0) finish_sums(step);
  return catena_success;
}

static void release_elementwise(void *arguments) {
  elementwise_step *step = arguments;
  free(step->instructions);
  free(step->narrow);
  for (int32_t i = 0; step->walk.maps != NULL && i < step->walk.operand_count; i++) free(step->walk.maps[i]);
  free(step->walk.maps);
}

// Fills in the maps of all operands; false without memory.
static bool make_maps(elementwise_step *step, const catena_channel_map *maps) {
  if (maps == NULL) return true;
  step->walk.maps = calloc((size_t)step->walk.operand_count, sizeof(catena_channels *));
  if (step->walk.maps == NULL) return false;
  for (int32_t i = 0; i < step->walk.operand_count; i++) {
    if (maps[i].channels == NULL) continue;
    step->walk.maps[i] = catena_channels_create(&maps[i]);
    if (step->walk.maps[i] == NULL) return false;
  }
  return true;
}

// MARK: What instructions do where numbers lie

// Whether every instruction that has an operand can have it as bf16 in memory, rows one behind the other.
static bool can_be_narrow(const elementwise_step *step, int32_t operand) {
  const catena_operand *memory = &step->walk.operands[operand];
  int32_t inner = step->walk.rank - 1;
  bool follows = step->rows == 1 || row_stride(step, operand) == step->walk.extents[inner];
  if (memory->type != CATENA_BF16 || catena_is_mapped(&step->walk, operand)) return false;
  if (step->walk.strides[operand][inner] != 1 || !follows) return false;
  for (int32_t i = 0; i < step->instruction_count; i++) {
    const catena_instruction *instruction = &step->instructions[i];
    bool is_read = catena_reads(instruction, operand), is_written = instruction->destination == operand;
    // Whoever reads a result reads it unrounded.
    if (is_read && memory->role == CATENA_WRITE) return false;
    if ((is_read || is_written) && !catena_is_narrow_possible(instruction->operation)) return false;
  }
  return true;
}

// Finds what is done on bf16 where it lies; false without memory.
static bool find_narrow(elementwise_step *step) {
  for (int32_t i = 0; i < step->walk.operand_count; i++) {
    if (can_be_narrow(step, i)) step->narrow_operands |= 1u << i;
  }
  if (step->narrow_operands != 0) {
    step->narrow = calloc((size_t)step->instruction_count, sizeof(catena_narrow));
    if (step->narrow == NULL) return false;
    for (int32_t i = 0; i < step->instruction_count; i++) {
      const catena_instruction *instruction = &step->instructions[i];
      bool reads_two = catena_reads_two(instruction->operation);
      step->narrow[i] = (catena_narrow){
        is_narrow(step, instruction->left), reads_two && is_narrow(step, instruction->right),
        is_narrow(step, instruction->destination)};
    }
  }
  step->is_stream = step->walk.rank == 1 && step->instruction_count == 1;
  block all = {.rows = 1, .length = step->walk.extents[0]};
  for (int32_t i = 0; i < step->walk.operand_count; i++) step->is_stream &= is_direct(step, i, &all);
  if (step->is_stream) plan_blocks(step);
  return true;
}

catena_status catena_add_elementwise(
  catena_program *program, int32_t rank, const int64_t *extents, int32_t operand_count,
  const catena_operand *operands, const int64_t *strides, const catena_channel_map *maps, int32_t instruction_count,
  const catena_instruction *instructions, bool is_integer, int32_t threads, void *scratch
) {
  const catena_status no_memory = {1, "malloc"};
  size_t bytes = (size_t)instruction_count * sizeof(catena_instruction);
  catena_instruction *copy = malloc(bytes);
  if (copy == NULL) return no_memory;
  memcpy(copy, instructions, bytes);
  // From here on what the step has is given back with the program, whatever fails.
  elementwise_step *step = catena_add_step(program, run_elementwise, sizeof(elementwise_step), release_elementwise);
  prepare(step, rank, extents, operand_count, operands, strides, threads);
  step->instructions = copy;
  step->instruction_count = instruction_count;
  step->is_integer = is_integer;
  step->slot_count = operand_count;
  for (int32_t i = 0; i < instruction_count; i++) {
    int32_t slots = copy[i].destination + 1;
    if (slots > step->slot_count) step->slot_count = slots;
  }
  if (!make_maps(step, maps)) return no_memory;
  if (!is_integer) {
    step->instruction_count = catena_join_sums(operand_count, instruction_count, copy);
    if (!find_narrow(step)) return no_memory;
    step->is_gate_pass = catena_find_gate_pass(&step->walk, step->instruction_count, copy, &step->gate_pass);
  }
  step->active = scratch;
  step->partials = scratch == NULL ? NULL : (double *)((char *)scratch + SCRATCH_HEADER);
  return catena_success;
}
