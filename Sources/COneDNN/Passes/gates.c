// Gates and their gradients in one loop: the passes that every step makes between its convolutions. Instruction by
// instruction they take up to three times as long, since their numbers do not stay in registers then.
#include "elementwise.h"
#include "../panels.h"

enum { NONE = -1 };

// MARK: Recognising a pass

// Whether the elements of an operand's rows follow on each other, as the rows do.
static bool is_stream(const catena_walk *walk, int32_t slot, catena_role role) {
  if (slot < 0 || slot >= walk->operand_count || walk->operands[slot].role != role) return false;
  int32_t inner = walk->rank - 1;
  return walk->strides[slot][inner] == 1 && inner > 0 && walk->strides[slot][inner - 1] == walk->extents[inner];
}

// Whether an operand has one number per channel, the innermost axis.
static bool is_per_channel(const catena_walk *walk, int32_t slot, catena_role role) {
  return slot >= 0 && slot < walk->operand_count && walk->operands[slot].role == role && walk->rank > 1
    && walk->strides[slot][walk->rank - 1] == 1 && walk->strides[slot][walk->rank - 2] == 0;
}

static bool is_mask(const catena_instruction *instruction) {
  return instruction->operation == CATENA_RELU_GRADIENT || instruction->operation == CATENA_NONZERO_GRADIENT;
}

static catena_mask mask_of(const catena_instruction *instruction) {
  return (catena_mask){instruction->right, instruction->operation == CATENA_NONZERO_GRADIENT};
}

// Makes an instruction behind the first mask part of the pass.
static bool take(
  const catena_walk *walk, const catena_instruction *instruction, int32_t gradient, catena_gate_pass *pass, int32_t *gated
) {
  bool is_product = instruction->operation == CATENA_MULTIPLY && instruction->left == gradient;
  if (is_product && is_per_channel(walk, instruction->right, CATENA_READ)) {
    if (pass->gate_count == CATENA_MOST_GATES) return false;
    gated[pass->gate_count] = instruction->destination;
    pass->gates[pass->gate_count++] = (catena_gate){instruction->right, instruction->destination, {NONE, false}};
    return true;
  }
  if (is_product && is_per_channel(walk, instruction->destination, CATENA_SUM)) {
    if (pass->sum_count == CATENA_MOST_GATES) return false;
    pass->sums[pass->sum_count++] = (catena_gate_sum){instruction->right, instruction->destination};
    return true;
  }
  for (int32_t i = 0; is_mask(instruction) && i < pass->gate_count; i++) {
    bool is_register = gated[i] >= walk->operand_count && pass->gates[i].mask.operand == NONE;
    if (instruction->left != gated[i] || !is_register) continue;
    pass->gates[i].mask = mask_of(instruction);
    pass->gates[i].result = instruction->destination;
    return true;
  }
  return false;
}

bool catena_find_gate_pass(
  const catena_walk *walk, int32_t count, const catena_instruction *instructions, catena_gate_pass *pass
) {
  if (count == 0 || walk->extents[walk->rank - 1] > CATENA_MOST_GATED) return false;
  *pass = (catena_gate_pass){.source = instructions[0].left, .mask = {NONE, false}, .kept = NONE};
  int32_t gated[CATENA_MOST_GATES], gradient = pass->source, next = 0;
  if (is_mask(&instructions[0])) {
    pass->mask = mask_of(&instructions[0]);
    gradient = instructions[0].destination;
    if (gradient < walk->operand_count) pass->kept = gradient;
    next = 1;
  }
  for (; next < count; next++) {
    if (!take(walk, &instructions[next], gradient, pass, gated)) return false;
  }
  if (pass->gate_count == 0 || pass->sum_count != pass->gate_count) return false;
  for (int32_t i = 1; i < pass->sum_count; i++) {
    // They belong to the same cells at the same time.
    size_t bytes = (size_t)walk->rank * sizeof(int64_t);
    if (memcmp(walk->strides[pass->sums[0].sum], walk->strides[pass->sums[i].sum], bytes) != 0) return false;
  }
  // What is masked behind its gate is alone: other passes are rare.
  bool is_masked_behind = pass->gates[0].mask.operand != NONE;
  if (is_masked_behind && (pass->gate_count > 1 || pass->mask.operand != NONE)) return false;
  if (pass->gate_count > 1 && (pass->gates[1].mask.operand != NONE || pass->mask.operand == NONE)) return false;
  catena_type type = pass->source < walk->operand_count ? walk->operands[pass->source].type : CATENA_BOOL;
  if (type != CATENA_F32 && type != CATENA_BF16) return false;
  pass->is_narrow = type == CATENA_BF16;
  pass->is_source_mapped = catena_is_mapped(walk, pass->source);
  // Gradients that are gathered are so where a branch ends, behind whatever masks them.
  if (pass->is_source_mapped && (pass->mask.operand != NONE || is_masked_behind)) return false;
  int32_t read[3 + CATENA_MOST_GATES] = {pass->source, pass->mask.operand, pass->gates[0].mask.operand};
  int32_t written[1 + CATENA_MOST_GATES] = {pass->kept};
  for (int32_t i = 0; i < CATENA_MOST_GATES; i++) {
    read[3 + i] = i < pass->sum_count ? pass->sums[i].data : NONE;
    written[1 + i] = i < pass->gate_count ? pass->gates[i].result : NONE;
  }
  for (int32_t i = 0; i < 3 + CATENA_MOST_GATES; i++) {
    if (read[i] == NONE || (i == 0 && pass->is_source_mapped)) continue;
    if (!is_stream(walk, read[i], CATENA_READ) || walk->operands[read[i]].type != type) return false;
  }
  for (int32_t i = 0; i < 1 + CATENA_MOST_GATES; i++) {
    if (written[i] == NONE) continue;
    if (!is_stream(walk, written[i], CATENA_WRITE) || walk->operands[written[i]].type != type) return false;
  }
  return true;
}

// MARK: Running it

CATENA_INLINE vector masked(vector gradient, vector value, bool is_nonzero) {
  bit_vector lets = is_nonzero ? ~(bit_vector)(value == 0) : (bit_vector)(value > 0);
  return (vector)((bit_vector)gradient & lets);
}

// What a pass does; known when the loop is compiled.
typedef struct {
  bool is_source_narrow, is_narrow, masks, keeps, masks_behind;
  int32_t branches;
  bool rounds;
} gate_form;

typedef struct {
  const void *source, *mask, *behind, *data[CATENA_MOST_GATES];
  const float *gates[CATENA_MOST_GATES];
  void *kept, *results[CATENA_MOST_GATES];
  float *sums[CATENA_MOST_GATES];
  bool is_nonzero, is_nonzero_behind;
} gate_streams;

// What some elements become.
typedef struct {
  vector kept, gated[CATENA_MOST_GATES], products[CATENA_MOST_GATES];
} gate_part;

// Of the elements from number `i` on, as many as there are lanes.
CATENA_INLINE gate_part part_at(gate_streams at, gate_form form, int64_t i, int64_t lanes) {
  gate_part part;
  part.kept = load_lanes_from(at.source, i, form.is_source_narrow, lanes);
  if (form.masks) {
    part.kept = masked(part.kept, load_lanes_from(at.mask, i, form.is_narrow, lanes), at.is_nonzero);
  }
  UNROLL for (int32_t branch = 0; branch < form.branches; branch++) {
    part.products[branch] = part.kept * load_lanes_from(at.data[branch], i, form.is_narrow, lanes);
    vector gated = part.kept * load_lanes_from(at.gates[branch], i, false, lanes);
    if (form.masks_behind) {
      gated = masked(gated, load_lanes_from(at.behind, i, form.is_narrow, lanes), at.is_nonzero_behind);
    }
    part.gated[branch] = gated;
  }
  return part;
}

CATENA_INLINE void finish(gate_streams at, gate_form form, gate_part part, int64_t i, int64_t lanes) {
  if (form.keeps) store_lanes_to(at.kept, i, part.kept, form.is_narrow, form.rounds, lanes);
  UNROLL for (int32_t branch = 0; branch < form.branches; branch++) {
    vector sum = load_lanes_from(at.sums[branch], i, false, lanes) + part.products[branch];
    store_lanes_to(at.sums[branch], i, sum, false, false, lanes);
    store_lanes_to(at.results[branch], i, part.gated[branch], form.is_narrow, form.rounds, lanes);
  }
}

// The last elements are a whole vector, too, part of it the same as the one before: read before anything is written,
// since results may take the place of what is read, and added up once.
CATENA_INLINE void loop(gate_streams at, int64_t count, gate_form form) {
  if (count < LANES) return finish(at, form, part_at(at, form, 0, count), 0, count);
  gate_part last = part_at(at, form, count - LANES, LANES);
  int64_t i = 0;
  for (; i + LANES <= count; i += LANES) finish(at, form, part_at(at, form, i, LANES), i, LANES);
  if (i == count) return;
  bit_vector are_new = (bit_vector)(lane_numbers >= (uint32_t)(i + LANES - count));
  UNROLL for (int32_t branch = 0; branch < form.branches; branch++) {
    last.products[branch] = (vector)((bit_vector)last.products[branch] & are_new);
  }
  finish(at, form, last, count - LANES, LANES);
}

#define RUN(IS_SOURCE_NARROW, MASKS, KEEPS, BEHIND, BRANCHES) \
  return loop(at, count, (gate_form){IS_SOURCE_NARROW, is_narrow, MASKS, KEEPS, BEHIND, BRANCHES, rounds})

CATENA_INLINE void run(const catena_gate_pass *pass, gate_streams at, int64_t count, bool is_narrow, bool rounds) {
  bool keeps = pass->kept != NONE;
  if (pass->is_source_mapped) RUN(false, false, false, false, 1);
  if (pass->gates[0].mask.operand != NONE) RUN(is_narrow, false, false, true, 1);
  if (pass->mask.operand == NONE) RUN(is_narrow, false, false, false, 1);
  if (pass->gate_count == 1 && keeps) RUN(is_narrow, true, true, false, 1);
  if (pass->gate_count == 1) RUN(is_narrow, true, false, false, 1);
  if (keeps) RUN(is_narrow, true, true, false, 2);
  RUN(is_narrow, true, false, false, 2);
}

CATENA_VECTORISED
static void run_lanes(const catena_gate_pass *pass, const gate_streams *at, int64_t count) {
  pass->is_narrow ? run(pass, *at, count, true, false) : run(pass, *at, count, false, false);
}

CATENA_ROUNDING
static void run_rounding(const catena_gate_pass *pass, const gate_streams *at, int64_t count) {
  run(pass, *at, count, true, true);
}

void catena_run_gate_pass(
  const catena_gate_pass *pass, void *const *slots, const float *const *gates, float *const *sums, int64_t count
) {
  gate_streams at = {.source = slots[pass->source], .is_nonzero = pass->mask.is_nonzero};
  if (pass->mask.operand != NONE) at.mask = slots[pass->mask.operand];
  if (pass->kept != NONE) at.kept = slots[pass->kept];
  if (pass->gates[0].mask.operand != NONE) {
    at.behind = slots[pass->gates[0].mask.operand];
    at.is_nonzero_behind = pass->gates[0].mask.is_nonzero;
  }
  for (int32_t branch = 0; branch < pass->gate_count; branch++) {
    at.data[branch] = slots[pass->sums[branch].data];
    at.results[branch] = slots[pass->gates[branch].result];
    at.gates[branch] = gates[branch];
    at.sums[branch] = sums[branch];
  }
  pass->is_narrow && catena_can_round() ? run_rounding(pass, &at, count) : run_lanes(pass, &at, count);
}
