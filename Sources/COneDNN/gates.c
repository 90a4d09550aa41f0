// Gates and their gradients in one loop: the passes that every step makes between its convolutions. Instruction by
// instruction they take up to three times as long, since their numbers do not stay in registers then.
#include "elementwise.h"

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
  pass->is_source_mapped = walk->operands[pass->source].map.channels != NULL;
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

CATENA_INLINE float masked(float gradient, float value, bool is_nonzero) {
  return value > 0 || (is_nonzero && !(value == 0)) ? gradient : 0.0f;
}

// What is known when this is compiled decides what the loop does.
CATENA_INLINE void loop(
  const catena_gate_pass *pass, void *const *slots, const float *const *gates, float *const *sums, int64_t count,
  bool is_source_narrow, bool is_narrow, bool masks, bool keeps, bool masks_behind, int32_t branches
) {
  const void *source = slots[pass->source], *mask = masks ? slots[pass->mask.operand] : NULL;
  const void *behind = masks_behind ? slots[pass->gates[0].mask.operand] : NULL;
  const void *first_data = slots[pass->sums[0].data], *second_data = branches > 1 ? slots[pass->sums[1].data] : NULL;
  void *kept = keeps ? slots[pass->kept] : NULL, *first = slots[pass->gates[0].result];
  void *second = branches > 1 ? slots[pass->gates[1].result] : NULL;
  const float *first_gate = gates[0], *second_gate = gates[1];
  float *first_sum = sums[0], *second_sum = sums[1];
  bool is_nonzero = pass->mask.is_nonzero, is_nonzero_behind = pass->gates[0].mask.is_nonzero;
#pragma clang loop vectorize(assume_safety) interleave(enable)
  for (int64_t i = 0; i < count; i++) {
    float gradient = catena_element(source, i, is_source_narrow);
    if (masks) gradient = masked(gradient, catena_element(mask, i, is_narrow), is_nonzero);
    if (keeps) catena_put_element(kept, i, is_narrow, gradient);
    first_sum[i] += gradient * catena_element(first_data, i, is_narrow);
    float gated = gradient * first_gate[i];
    if (masks_behind) gated = masked(gated, catena_element(behind, i, is_narrow), is_nonzero_behind);
    catena_put_element(first, i, is_narrow, gated);
    if (branches > 1) {
      second_sum[i] += gradient * catena_element(second_data, i, is_narrow);
      catena_put_element(second, i, is_narrow, gradient * second_gate[i]);
    }
  }
}

#define RUN(MASKS, KEEPS, BEHIND, BRANCHES) \
  return pass->is_narrow ? loop(pass, slots, gates, sums, count, true, true, MASKS, KEEPS, BEHIND, BRANCHES) \
                         : loop(pass, slots, gates, sums, count, false, false, MASKS, KEEPS, BEHIND, BRANCHES)

CATENA_VECTORISED
void catena_run_gate_pass(
  const catena_gate_pass *pass, void *const *slots, const float *const *gates, float *const *sums, int64_t count
) {
  bool keeps = pass->kept != NONE;
  if (pass->is_source_mapped && pass->is_narrow) {
    return loop(pass, slots, gates, sums, count, false, true, false, false, false, 1);
  }
  if (pass->gates[0].mask.operand != NONE) RUN(false, false, true, 1);
  if (pass->mask.operand == NONE) RUN(false, false, false, 1);
  if (pass->gate_count == 1 && keeps) RUN(true, true, false, 1);
  if (pass->gate_count == 1) RUN(true, false, false, 1);
  if (keeps) RUN(true, true, false, 2);
  RUN(true, false, false, 2);
}
