// Convolution, its input gradient and matrix products on tensor cores, as one implicit matrix product: rows are output
// positions, columns output channels, the depth is tap row x tap column x input channel. Positions are mapped as in
// conv/convolution.cl; a matrix is a batch of images of one position. Input channels come in multiples of 4, groups is 1.
//
// The data are channels last; the weight is output channel x tap row x tap column x input channel. A work-group owns
// TILE_M rows and TILE_N columns, each warp a part of them; a work-item brings the same chunk of several rows to local
// memory, so that it follows one position in depth.

typedef struct {
  int tap_row;
  int tap_column;
  int channel;
} Depth;

// The position `count` further on.
inline Depth advanced(Depth depth, int count, int channels, int tap_columns) {
  depth.channel += count;
  while (depth.channel >= channels) {
    depth.channel -= channels;
    if (++depth.tap_column == tap_columns) {
      depth.tap_column = 0;
      ++depth.tap_row;
    }
  }
  return depth;
}

// Where output row `row` begins to read: sample, row and column of the input, before taps and divisors.
inline int4 reading_start(int row, int4 output, int4 across, int4 along) {
  if (row >= output.s0 * output.s1 * output.s2) return (int4)(-1, 0, 0, 0);
  const int column = row % output.s2;
  row /= output.s2;
  const int sample = row / output.s1;
  row %= output.s1;
  return (int4)(sample, row * across.s0 + across.s2, column * along.s0 + along.s2, 0);
}

// The first of four consecutive inputs, or -1 where there is none.
inline int input_position(int4 start, Depth depth, int4 input, int tap_rows, int4 across, int4 along) {
  int row = start.s1 + depth.tap_row * across.s1;
  int column = start.s2 + depth.tap_column * along.s1;
  if (across.s3 * along.s3 != 1) {
    if (row % across.s3 != 0 || column % along.s3 != 0) return -1;
    row /= across.s3;
    column /= along.s3;
  }
  const int is_inside = start.s0 >= 0 && depth.tap_row < tap_rows && row >= 0 && row < input.s0 && column >= 0
      && column < input.s1;
  return is_inside ? ((start.s0 * input.s0 + row) * input.s1 + column) * input.s2 + depth.channel : -1;
}

// The first of four consecutive factors, or -1 where there is none.
inline int weight_position(int column, int depth, int columns, int total_depth) {
  return column < columns && depth < total_depth ? column * total_depth + depth : -1;
}

#define CHUNKS_M (TILE_M * 4 / THREADS)
#define CHUNKS_N (TILE_N * 4 / THREADS)
// Eight words more than a row has, so that the rows of a fragment lie in different banks.
#define RESULT_PITCH (TILE_N + 8)
#define STAGE_WORDS ((TILE_M + TILE_N) * WORDS_PER_ROW)

#if TENSOR_BF16
// Numbers are converted on their way to local memory and wait in registers meanwhile.
inline float4 load_quad(const global float *source, int position) {
  return position >= 0 ? vload4(0, source + position) : (float4)(0.0f);
}

inline void store_chunk(local uint *target, float4 low, float4 high) {
  target[0] = pack_bf16(low.s0, low.s1);
  target[1] = pack_bf16(low.s2, low.s3);
  target[2] = pack_bf16(high.s0, high.s1);
  target[3] = pack_bf16(high.s2, high.s3);
}
#endif

kernel __attribute__((reqd_work_group_size(THREADS, 1, 1))) void tensor_convolution(
    const global float *data, const global float *weight, const global float *bias,
    const int4 input,   // height, width, channels, groups (1)
    const int4 output,  // samples, height, width, channels
    const int2 taps,    // height, width
    const int4 across,  // the mapping of rows: multiplier, step, offset, divisor
    const int4 along,   // the mapping of columns
    EPILOGUE_PARAMETERS) {
  local uint tiles[STAGES * STAGE_WORDS] __attribute__((aligned(16)));
#if TENSOR_PTX
  local uint *exchange = tiles;
#else
  local uint exchange[THREADS * LOADS * 4];
#endif
  const int rows = output.s0 * output.s1 * output.s2;
  const int columns = output.s3;
  const int inputs = input.s2;
  const int total_depth = taps.s0 * taps.s1 * inputs;
  const int steps = divide_up(total_depth, DEPTH);
  const int column_tiles = divide_up(columns, TILE_N);
  const int item = get_local_id(0);
  const int lane = item % 32;
  const int warp = item / 32;
  const int first_row = (int)get_group_id(0) / column_tiles * TILE_M;
  const int first_column = (int)get_group_id(0) % column_tiles * TILE_N;

  // What this work-item brings: chunk `chunk` of rows item / 4, item / 4 + THREADS / 4, ...
  const int chunk = item % 4;
  int4 starts[CHUNKS_M];
UNROLL
  for (int i = 0; i < CHUNKS_M; ++i)
    starts[i] = reading_start(first_row + item / 4 + i * (THREADS / 4), output, across, along);
  Depth depths[QUADS_PER_CHUNK];
UNROLL
  for (int quad = 0; quad < QUADS_PER_CHUNK; ++quad) {
    const Depth origin = {0, 0, 0};
    depths[quad] = advanced(origin, (chunk * QUADS_PER_CHUNK + quad) * 4, inputs, taps.s1);
  }

  float sums[FRAGMENTS_M][FRAGMENTS_N][4];
UNROLL
  for (int m = 0; m < FRAGMENTS_M; ++m) {
UNROLL
    for (int n = 0; n < FRAGMENTS_N; ++n) {
UNROLL
      for (int index = 0; index < 4; ++index) sums[m][n][index] = 0.0f;
    }
  }

#define DATA_POSITION(i, quad) input_position(starts[i], depths[quad], input, taps.s0, across, along)
#define WEIGHT_POSITION(i, step, quad)                                                                         \
  weight_position(                                                                                             \
      first_column + item / 4 + (i) * (THREADS / 4), (step) * DEPTH + (chunk * QUADS_PER_CHUNK + (quad)) * 4, \
      columns, total_depth)
#define TARGET_M(i, step)                                                                                      \
  (tiles + (step) % STAGES * STAGE_WORDS + chunk_position(item / 4 + (i) * (THREADS / 4), chunk))
#define TARGET_N(i, step)                                                                                      \
  (tiles + (step) % STAGES * STAGE_WORDS + chunk_position(TILE_M + item / 4 + (i) * (THREADS / 4), chunk))
#define ADVANCE                                                                                                \
  UNROLL for (int quad = 0; quad < QUADS_PER_CHUNK; ++quad)                                        \
      depths[quad] = advanced(depths[quad], DEPTH, inputs, taps.s1);

#if TENSOR_BF16
  float4 waiting_m[CHUNKS_M][2];
  float4 waiting_n[CHUNKS_N][2];
#define FETCH(step)                                                                                            \
  {                                                                                                            \
    UNROLL for (int i = 0; i < CHUNKS_M; ++i) {                                                     \
      waiting_m[i][0] = load_quad(data, DATA_POSITION(i, 0));                                                  \
      waiting_m[i][1] = load_quad(data, DATA_POSITION(i, 1));                                                  \
    }                                                                                                          \
    UNROLL for (int i = 0; i < CHUNKS_N; ++i) {                                                     \
      waiting_n[i][0] = load_quad(weight, WEIGHT_POSITION(i, step, 0));                                        \
      waiting_n[i][1] = load_quad(weight, WEIGHT_POSITION(i, step, 1));                                        \
    }                                                                                                          \
    ADVANCE                                                                                                    \
  }
#define PUT(step)                                                                                              \
  {                                                                                                            \
    UNROLL for (int i = 0; i < CHUNKS_M; ++i)                                                       \
        store_chunk(TARGET_M(i, step), waiting_m[i][0], waiting_m[i][1]);                                      \
    UNROLL for (int i = 0; i < CHUNKS_N; ++i)                                                       \
        store_chunk(TARGET_N(i, step), waiting_n[i][0], waiting_n[i][1]);                                      \
  }
  FETCH(0)
  PUT(0)
#else
#define FETCH(step)                                                                                            \
  {                                                                                                            \
    UNROLL for (int i = 0; i < CHUNKS_M; ++i) {                                                     \
      const int position = DATA_POSITION(i, 0);                                                                \
      copy_later(TARGET_M(i, step), data + max(position, 0), position >= 0);                                   \
    }                                                                                                          \
    UNROLL for (int i = 0; i < CHUNKS_N; ++i) {                                                     \
      const int position = WEIGHT_POSITION(i, step, 0);                                                        \
      copy_later(TARGET_N(i, step), weight + max(position, 0), position >= 0);                                 \
    }                                                                                                          \
    ADVANCE                                                                                                    \
  }
#define PUT(step) {}
  for (int step = 0; step < STAGES - 1; ++step) {
    if (step < steps) FETCH(step)
    end_of_stage();
  }
#endif

  // Rows and chunk that this lane names to ldmatrix: left factors in the order of the fragment's words (upper part,
  // lower part, then deeper), right factors depth first.
  const int left_row = warp / WARPS_N * (TILE_M / WARPS_M) + lane % 16;
  const int right_row = TILE_M + warp % WARPS_N * (TILE_N / WARPS_N) + lane % 8 + lane / 16 * 8;
  const int left_chunk = lane / 16;
  const int right_chunk = lane / 8 % 2;

  for (int step = 0; step < steps; ++step) {
    wait_for_stage();
    const int next = step + STAGES - 1;
    if (next < steps) FETCH(next)
    end_of_stage();
    const local uint *stage = tiles + step % STAGES * STAGE_WORDS;
UNROLL
    for (int slab = 0; slab < 2; ++slab) {
      uint positions[LOADS];
      uint fragments[LOADS][4];
UNROLL
      for (int m = 0; m < FRAGMENTS_M; ++m)
        positions[m] = chunk_position(left_row + m * 16, slab * 2 + left_chunk);
UNROLL
      for (int n = 0; n < FRAGMENTS_N / 2; ++n)
        positions[FRAGMENTS_M + n] = chunk_position(right_row + n * 16, slab * 2 + right_chunk);
      load_matrices(stage, positions, fragments, exchange);
#if !TENSOR_BF16
UNROLL
      for (int load = 0; load < LOADS; ++load) {
UNROLL
        for (int word = 0; word < 4; ++word) fragments[load][word] = round_to_tf32(as_float(fragments[load][word]));
      }
#endif
      multiply_fragments(sums, fragments, exchange);
    }
    if (next < steps) PUT(next)
  }

  // Through local memory, so that neighbours store neighbours: 16 rows of every warp at a time. The loop is not unrolled,
  // since the epilogue is long; only constant indices keep the sums in registers, therefore the comparison.
  local float *results = (local float *)tiles;
#pragma unroll 1
  for (int m = 0; m < FRAGMENTS_M; ++m) {
    barrier(CLK_LOCAL_MEM_FENCE);
UNROLL
    for (int candidate = 0; candidate < FRAGMENTS_M; ++candidate) {
      if (candidate != m) continue;
UNROLL
      for (int n = 0; n < FRAGMENTS_N; ++n) {
UNROLL
        for (int part = 0; part < 2; ++part) {
          const int row = warp / WARPS_N * 16 + lane / 4 + part * 8;
          const int column = warp % WARPS_N * (TILE_N / WARPS_N) + n * 8 + lane % 4 * 2;
          vstore2(
              (float2)(sums[candidate][n][part * 2], sums[candidate][n][part * 2 + 1]), 0,
              results + row * RESULT_PITCH + column);
        }
      }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int index = item; index < WARPS_M * 16 * (TILE_N / LANES); index += THREADS) {
      const int local_row = index / (TILE_N / LANES);
      const int local_column = index % (TILE_N / LANES) * LANES;
      const int row = first_row + local_row / 16 * (TILE_M / WARPS_M) + m * 16 + local_row % 16;
      const int column = first_column + local_column;
      if (row < rows && column < columns) {
        const int lanes = min(LANES, columns - column);
        floatv value = JOIN(vload, LANES)(0, results + local_row * RESULT_PITCH + local_column);
        if (bias) value += load_lanes(bias + column, lanes);
        epilogue(value, row, column, columns, lanes, EPILOGUE_ARGUMENTS);
      }
    }
  }
}
