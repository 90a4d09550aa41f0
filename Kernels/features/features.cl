// What a device can do beyond OpenCL 1.2: one small kernel per feature, chosen by FEATURE, so that one that does not
// build hides no other. All read and write words of 32 bits and run as one group. Only `catena bench --qualify` uses
// them.

#ifndef PTX
#define PTX asm
#endif

#define FEATURE_PTX 0
#define FEATURE_MMA_TF32 1
#define FEATURE_MMA_BF16 2
#define FEATURE_LDMATRIX 3
#define FEATURE_CP_ASYNC 4
#define FEATURE_LOCAL_MEMORY 5

#if FEATURE == FEATURE_PTX
// The lane of every work-item.
kernel void feature(const global uint *input, global uint *output) {
  uint lane;
  PTX volatile("mov.u32 %0, %%laneid;" : "=r"(lane));
  output[get_global_id(0)] = lane + input[get_global_id(0)];
}
#endif

#if FEATURE == FEATURE_MMA_TF32
// A 16 x 8 matrix times an 8 x 8 matrix, factors as the PTX manual shares them out to lanes.
kernel void feature(const global uint *input, global float *output) {
  const int lane = get_local_id(0);
  const int group = lane / 4;
  const int t = lane % 4;
  const global uint *left = input;
  const global uint *right = input + 16 * 8;
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  PTX volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(left[group * 8 + t]), "r"(left[(group + 8) * 8 + t]), "r"(left[group * 8 + t + 4]),
                 "r"(left[(group + 8) * 8 + t + 4]), "r"(right[t * 8 + group]), "r"(right[(t + 4) * 8 + group]));
  for (int i = 0; i < 4; ++i) output[(group + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
#endif

#if FEATURE == FEATURE_MMA_BF16
// A 16 x 16 matrix times a 16 x 8 matrix; the input's floats are exact in bf16.
kernel void feature(const global uint *input, global float *output) {
  const int lane = get_local_id(0);
  const int group = lane / 4;
  const int t = lane % 4;
  const global uint *left = input;
  const global uint *right = input + 16 * 16;
  uint words[6];
  for (int i = 0; i < 4; ++i) {
    const global uint *pair = left + (group + i % 2 * 8) * 16 + 2 * t + i / 2 * 8;
    words[i] = pair[0] >> 16 | (pair[1] & 0xffff0000u);
  }
  for (int i = 0; i < 2; ++i) {
    const int k = 2 * t + i * 8;
    words[4 + i] = right[k * 8 + group] >> 16 | (right[(k + 1) * 8 + group] & 0xffff0000u);
  }
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  PTX volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
               "{%0, %1, %2, %3};"
               : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
               : "r"(words[0]), "r"(words[1]), "r"(words[2]), "r"(words[3]), "r"(words[4]), "r"(words[5]));
  for (int i = 0; i < 4; ++i) output[(group + i / 2 * 8) * 8 + 2 * t + i % 2] = sums[i];
}
#endif

#if FEATURE == FEATURE_LDMATRIX
// Four matrices of 8 rows of 16 bytes: lane l must hold word l of each.
kernel void feature(const global uint *input, global uint *output) {
  local uint tile[128] __attribute__((aligned(16)));
  const int lane = get_local_id(0);
  for (int i = 0; i < 4; ++i) tile[i * 32 + lane] = input[i * 32 + lane];
  barrier(CLK_LOCAL_MEM_FENCE);
  uint words[4];
  PTX volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"((uint)(size_t)(tile + lane * 4))
               : "memory");
  for (int i = 0; i < 4; ++i) output[i * 32 + lane] = words[i];
}
#endif

#if FEATURE == FEATURE_CP_ASYNC
// The first 16 lanes copy 16 bytes each, the others fill with zeros.
kernel void feature(const global uint *input, global uint *output) {
  local uint tile[128] __attribute__((aligned(16)));
  const int lane = get_local_id(0);
  PTX volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"((uint)(size_t)(tile + lane * 4)), "l"(input + lane * 4), "r"(lane < 16 ? 16 : 0)
               : "memory");
  PTX volatile("cp.async.commit_group;" ::: "memory");
  PTX volatile("cp.async.wait_group 0;" ::: "memory");
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int i = 0; i < 4; ++i) output[i * 32 + lane] = tile[i * 32 + lane];
}
#endif

#if FEATURE == FEATURE_LOCAL_MEMORY
// LOCAL_WORDS words of local memory, all written, the last ones read by other work-items.
kernel void feature(const global uint *input, global uint *output) {
  local uint memory[LOCAL_WORDS];
  const int item = get_local_id(0);
  for (int k = item; k < LOCAL_WORDS; k += 32) memory[k] = k + input[0];
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int i = 0; i < 4; ++i) output[i * 32 + item] = memory[LOCAL_WORDS - 1 - (i * 32 + item)];
}
#endif
