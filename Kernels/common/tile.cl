// Products by tiles, for devices whose work-groups share local memory. A work-group computes MWG rows x NWG columns, in
// steps of KWG along the inner axis; a work-item owns MWI rows x NWI columns of it in registers. Its columns are NWI /
// LANES vectors that lie NWG * LANES / NWI apart, so that neighbours read neighbouring words. MWI, NWI, MWG, NWG and KWG
// are multiples of LANES. Tiles are declared as vectors, so that they are aligned; a row of the left one is a vector
// longer than it needs, so that writing it across does not hit one bank again and again.
#ifdef MWG

#define ITEMS_ACROSS (NWG / NWI)
#define TILE_GROUP ((MWG / MWI) * ITEMS_ACROSS)
#define VECTORS (NWI / LANES)
#define TILE_WORK_GROUP __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1)))

inline int tile_row(int item, int i) { return item / ITEMS_ACROSS * MWI + i; }

inline int tile_column(int item, int vector) { return (vector * ITEMS_ACROSS + item % ITEMS_ACROSS) * LANES; }

#define LEFT_STRIDE (MWG + LANES)
#define DECLARE_TILES                                                                                              \
  local floatv left_vectors[KWG * LEFT_STRIDE / LANES];                                                            \
  local floatv right_vectors[KWG * NWG / LANES];                                                                   \
  local float *left_tile = (local float *)left_vectors;                                                            \
  local float *right_tile = (local float *)right_vectors

// A copy of the sums that is indexed while running: the epilogue is long and therefore a loop, and only constant indices
// keep the sums themselves in registers while they are added to.
#define RESULTS_OF(sums)                                                                                           \
  floatv results[MWI * VECTORS];                                                                                   \
  _Pragma("unroll") for (int i = 0; i < MWI; ++i) {                                                                \
    _Pragma("unroll") for (int vector = 0; vector < VECTORS; ++vector) results[i * VECTORS + vector] = sums[i][vector]; \
  }

inline void multiply_step(
    const local floatv *left, const local floatv *right, int item, int k, floatv sums[MWI][VECTORS]) {
  floatv factors[VECTORS];
#pragma unroll
  for (int vector = 0; vector < VECTORS; ++vector)
    factors[vector] = right[(k * NWG + tile_column(item, vector)) / LANES];
  float values[MWI];
#pragma unroll
  for (int i = 0; i < MWI; i += LANES)
    JOIN(vstore, LANES)(left[(k * LEFT_STRIDE + tile_row(item, i)) / LANES], 0, values + i);
#pragma unroll
  for (int i = 0; i < MWI; ++i) {
#pragma unroll
    for (int vector = 0; vector < VECTORS; ++vector) sums[i][vector] += values[i] * factors[vector];
  }
}

// sums += the product of the tile's first `count` steps. `left` is KWG x LEFT_STRIDE, `right` KWG x NWG. A whole tile
// has a loop of its own, whose end is known.
inline void multiply_tiles(
    const local floatv *left, const local floatv *right, int item, int count, floatv sums[MWI][VECTORS]) {
  if (count >= KWG) {
#pragma unroll 2
    for (int k = 0; k < KWG; ++k) multiply_step(left, right, item, k, sums);
  } else {
#pragma unroll 1
    for (int k = 0; k < count; ++k) multiply_step(left, right, item, k, sums);
  }
}

#endif
