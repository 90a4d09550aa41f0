// What is known of a pass's instructions before they run, and which of them become one.
#include "elementwise.h"

bool catena_reads(const catena_instruction *instruction, int32_t slot) {
  bool has_right = catena_reads_two(instruction->operation), has_third = instruction->operation >= CATENA_SELECT;
  return instruction->left == slot || (has_right && instruction->right == slot)
    || (has_third && instruction->third == slot);
}

// Whether none of the instructions reads a slot before it is written again.
static bool is_dead(int32_t slot, int32_t count, const catena_instruction *instructions) {
  for (int32_t i = 0; i < count; i++) {
    if (catena_reads(&instructions[i], slot)) return false;
    if (instructions[i].destination == slot) return true;
  }
  return true;
}

int32_t catena_join_sums(int32_t operand_count, int32_t count, catena_instruction *instructions) {
  for (int32_t i = 0; i + 1 < count; i++) {
    catena_instruction *sum = &instructions[i], *next = sum + 1;
    bool is_sum = sum->operation == CATENA_ADD && sum->destination >= operand_count;
    if (!is_sum || next->operation != CATENA_RELU || next->left != sum->destination) continue;
    int32_t left = count - i - 2;
    if (next->destination != sum->destination && !is_dead(sum->destination, left, next + 1)) continue;
    sum->operation = CATENA_ADD_RELU;
    sum->destination = next->destination;
    memmove(next, next + 1, (size_t)left * sizeof(catena_instruction));
    count -= 1;
  }
  return count;
}
