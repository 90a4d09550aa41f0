// Vectors of LANES channels. Every kernel that walks along the innermost axis does so in these steps; the last step of
// a row may own fewer lanes and neither reads nor writes beyond them.

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define floatv JOIN(float, LANES)
#define intv JOIN(int, LANES)
// vstore is a store of four elements each with some compilers; this is one.
typedef floatv unaligned_floatv __attribute__((aligned(4)));

// A work-item that walks down rows owns BLOCKS vectors of a row that lie together, as many as RUN elements: where one
// work-item after the other runs on a core, memory is then read from front to back.
#define BLOCKS (RUN < 2 * LANES ? 1 : RUN < 4 * LANES ? RUN / LANES : 4)
#define STEP (BLOCKS * LANES)

#define WORK_GROUP __attribute__((reqd_work_group_size(GROUP_SIZE, 1, 1)))

// What is long and rarely needed. On a core it is called, so that what surrounds it is short enough to be inlined; where
// work-items are many, a call costs more than the copies do.
#if LANES > 4
#define CALLED static __attribute__((noinline))
#else
#define CALLED inline
#endif

// On a core that waits for the memory it reads and writes, asks for it ahead of time. The address may lie outside of the
// buffer: nothing is read or written. PREFETCH is defined where the compiler is known to have the instruction.
#ifdef PREFETCH
#define EXPECT_READ(address) __builtin_prefetch(address, 0)
#define EXPECT_WRITE(address) __builtin_prefetch(address, 1)
#else
#define EXPECT_READ(address)
#define EXPECT_WRITE(address)
#endif

inline int divide_up(int value, int divisor) { return (value + divisor - 1) / divisor; }

CALLED floatv load_some_lanes(const global float *source, int lanes) {
  float values[LANES];
  for (int lane = 0; lane < LANES; ++lane) values[lane] = lane < lanes ? source[lane] : 0.0f;
  return JOIN(vload, LANES)(0, values);
}

CALLED void store_some_lanes(floatv value, global float *target, int lanes) {
  float values[LANES];
  JOIN(vstore, LANES)(value, 0, values);
  for (int lane = 0; lane < lanes; ++lane) target[lane] = values[lane];
}

inline floatv load_lanes(const global float *source, int lanes) {
#if LANES <= 4
  // vload promises the alignment of one element only: where work-items are many and short, that is an instruction each.
  if (lanes == LANES && (size_t)source % sizeof(floatv) == 0) return *(const global floatv *)source;
#endif
  return lanes == LANES ? JOIN(vload, LANES)(0, source) : load_some_lanes(source, lanes);
}

// The same for lanes that lie `stride` apart.
inline floatv gather_lanes(const global float *source, int lanes, int stride) {
  float values[LANES];
  for (int lane = 0; lane < LANES; ++lane) values[lane] = lane < lanes ? source[lane * stride] : 0.0f;
  return JOIN(vload, LANES)(0, values);
}

inline void store_lanes(floatv value, global float *target, int lanes) {
#if LANES <= 4
  if (lanes == LANES && (size_t)target % sizeof(floatv) == 0) {
    *(global floatv *)target = value;
    return;
  }
#endif
  if (lanes == LANES)
    *(global unaligned_floatv *)target = value;
  else
    store_some_lanes(value, target, lanes);
}

inline float sum_of_lanes(floatv value) {
  float values[LANES];
  JOIN(vstore, LANES)(value, 0, values);
  float sum = 0.0f;
  for (int lane = 0; lane < LANES; ++lane) sum += values[lane];
  return sum;
}

// sums[row] += a[row * pitch + k * step] * b[k * stride + lane] for PIXELS rows, over `count` steps k. Rows share pointers
// by four: offsets of their own are more than a core has registers for.
inline void add_products(
    floatv *sums, const global float *a, long pitch, long step, const global float *b, long stride, int count) {
  const global float *fours[(PIXELS + 3) / 4];
#pragma unroll
  for (int four = 0; four < (PIXELS + 3) / 4; ++four) fours[four] = a + four * 4 * pitch;
  for (int k = 0; k < count; ++k) {
    const floatv factor = JOIN(vload, LANES)(0, b);
#pragma unroll
    for (int row = 0; row < PIXELS; ++row) sums[row] += fours[row / 4][row % 4 * pitch] * factor;
#pragma unroll
    for (int four = 0; four < (PIXELS + 3) / 4; ++four) fours[four] += step;
    b += stride;
  }
}

// The same for rows that lie anywhere, with offsets that may be the same.
inline void add_products_at(
    floatv *sums, const global float *a, const int *rows, long step, const global float *b, long stride, int count) {
  for (int k = 0; k < count; ++k) {
    const floatv factor = JOIN(vload, LANES)(0, b);
#pragma unroll
    for (int row = 0; row < PIXELS; ++row) sums[row] += a[rows[row]] * factor;
    a += step;
    b += stride;
  }
}
