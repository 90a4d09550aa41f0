// What the tensor cores of an NVIDIA GPU do for one warp, through inline PTX (sm_80 and later): mma.sync with factors
// rounded to tf32 (m16n8k8) or bf16 (m16n8k16) and sums in f32, ldmatrix, cp.async. Without TENSOR_PTX the same steps
// are done in OpenCL C, with the lanes of the fragments as the PTX manual draws them: slow, and only there so that the
// kernels' arithmetic can be tested on any device.
//
// Factors lie in local memory in rows of 64 bytes, four chunks of 16 bytes each, 16 numbers of tf32 or 32 of bf16. A
// warp reads eight rows of one chunk at a time; chunks are exchanged within a row so that these eight lie in different
// banks. Two chunks, a slab, are the depth of one mma.

#ifndef PTX
#define PTX asm
#endif

// Without PTX the loops stay loops: what keeps registers busy on a GPU only makes a CPU's compiler slow.
#if TENSOR_PTX
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#endif

#define WARPS (WARPS_M * WARPS_N)
#define THREADS (32 * WARPS)
// Rows and columns of one warp, in fragments.
#define FRAGMENTS_M (TILE_M / WARPS_M / 16)
#define FRAGMENTS_N (TILE_N / WARPS_N / 8)
#define WORDS_PER_ROW 16
#define LOADS (FRAGMENTS_M + FRAGMENTS_N / 2)

#if TENSOR_BF16
#define QUADS_PER_CHUNK 2
#define DEPTH 32
#else
#define QUADS_PER_CHUNK 1
#define DEPTH 16
#endif

// The word at which a chunk of a row begins.
inline uint chunk_position(uint row, uint chunk) { return row * WORDS_PER_ROW + ((chunk ^ ((row >> 1) & 3)) << 2); }

inline uint round_to_tf32(float value) {
#if TENSOR_PTX
  uint result;
  PTX("cvt.rna.tf32.f32 %0, %1;" : "=r"(result) : "f"(value));
  return result;
#else
  const uint bits = as_uint(value);
  return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & 0xffffe000u;
#endif
}

// Two numbers as bf16, the first in the lower part.
inline uint pack_bf16(float low, float high) {
#if TENSOR_PTX
  uint result;
  PTX("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(result) : "f"(high), "f"(low));
  return result;
#else
  uint halves[2];
  for (int part = 0; part < 2; ++part) {
    const float value = part ? high : low;
    const uint bits = as_uint(value);
    halves[part] = isnan(value) ? 0x7fffu : (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  }
  return halves[0] | halves[1] << 16;
#endif
}

// Copies 16 bytes to local memory while the warp goes on; zeros where `source` is not to be read.
inline void copy_later(local uint *target, const global float *source, int is_read) {
#if TENSOR_PTX
  PTX volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"((uint)(size_t)target), "l"(source), "r"(is_read ? 16 : 0)
               : "memory");
#else
  for (int word = 0; word < 4; ++word) target[word] = is_read ? as_uint(source[word]) : 0u;
#endif
}

inline void end_of_stage(void) {
#if TENSOR_PTX
  PTX volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits until all stages but the last STAGES - 2 have arrived.
inline void wait_for_stage(void) {
#if TENSOR_PTX
  PTX volatile("cp.async.wait_group %0;" ::"n"(STAGES - 2) : "memory");
#endif
  barrier(CLK_LOCAL_MEM_FENCE);
}

// Four 8 x 16-byte matrices per load. Lane 8 i + r gives the word at which row r of matrix i begins; afterwards lane l
// holds word l % 4 of row l / 4 of each.
inline void load_matrices(
    const local uint *tiles, const uint positions[LOADS], uint fragments[LOADS][4], local uint *exchange) {
#if TENSOR_PTX
  // Lanes may come from loops of different lengths, and nothing else says that they meet before the warp's instructions.
  PTX volatile("bar.warp.sync 0xffffffff;" ::: "memory");
UNROLL
  for (int load = 0; load < LOADS; ++load) {
    PTX volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragments[load][0]), "=r"(fragments[load][1]), "=r"(fragments[load][2]),
                   "=r"(fragments[load][3])
                 : "r"((uint)(size_t)(tiles + positions[load]))
                 : "memory");
  }
#else
  const int item = get_local_id(0);
  for (int load = 0; load < LOADS; ++load) exchange[item * LOADS + load] = positions[load];
  barrier(CLK_LOCAL_MEM_FENCE);
  const int warp = item & ~31;
  const int lane = item & 31;
  for (int load = 0; load < LOADS; ++load) {
    for (int matrix = 0; matrix < 4; ++matrix)
      fragments[load][matrix] = tiles[exchange[(warp + 8 * matrix + lane / 4) * LOADS + load] + lane % 4];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
}

#if !TENSOR_PTX
// The factor at (row, depth) of a fragment of left factors, or at (column, depth) of one of right factors (which has
// part the words), that the lanes of a warp hold as `words_per_lane` words each.
inline float fragment_factor(const local uint *words, int words_per_lane, int row, int depth, int is_left) {
  const int rows = is_left ? row / 8 : 0;
#if TENSOR_BF16
  const int lane = row % 8 * 4 + depth % 8 / 2;
  const int word = is_left ? rows + 2 * (depth / 8) : depth / 8;
  const uint pair = words[lane * words_per_lane + word];
  return as_float(depth % 2 ? pair & 0xffff0000u : pair << 16);
#else
  const int lane = row % 8 * 4 + depth % 4;
  const int word = is_left ? rows + 2 * (depth / 4) : depth / 4;
  return as_float(words[lane * words_per_lane + word]);
#endif
}
#endif

// sums += left * right for the warp's fragments. Left fragments are the first FRAGMENTS_M loads; each load behind them
// holds two right fragments.
inline void multiply_fragments(
    float sums[FRAGMENTS_M][FRAGMENTS_N][4], const uint fragments[LOADS][4], local uint *exchange) {
#if TENSOR_PTX
UNROLL
  for (int m = 0; m < FRAGMENTS_M; ++m) {
UNROLL
    for (int n = 0; n < FRAGMENTS_N; ++n) {
      const int load = FRAGMENTS_M + n / 2;
      const int part = n % 2 * 2;
      PTX volatile(
#if TENSOR_BF16
          "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
#else
          "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
#endif
          "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
          : "+f"(sums[m][n][0]), "+f"(sums[m][n][1]), "+f"(sums[m][n][2]), "+f"(sums[m][n][3])
          : "r"(fragments[m][0]), "r"(fragments[m][1]), "r"(fragments[m][2]), "r"(fragments[m][3]),
            "r"(fragments[load][part]), "r"(fragments[load][part + 1]));
    }
  }
#else
  const int item = get_local_id(0);
  const int warp = item & ~31;
  const int lane = item & 31;
  for (int load = 0; load < LOADS; ++load) {
    for (int word = 0; word < 4; ++word) exchange[item * LOADS * 4 + load * 4 + word] = fragments[load][word];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const local uint *words = exchange + warp * LOADS * 4;
  for (int m = 0; m < FRAGMENTS_M; ++m) {
    for (int n = 0; n < FRAGMENTS_N; ++n) {
      const local uint *right = words + (FRAGMENTS_M + n / 2) * 4 + n % 2 * 2;
      for (int index = 0; index < 4; ++index) {
        const int row = lane / 4 + index / 2 * 8;
        const int column = lane % 4 * 2 + index % 2;
        float sum = sums[m][n][index];
        for (int depth = 0; depth < DEPTH / 2; ++depth)
          sum += fragment_factor(words + m * 4, LOADS * 4, row, depth, 1)
              * fragment_factor(right, LOADS * 4, column, depth, 0);
        sums[m][n][index] = sum;
      }
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
#endif
}
