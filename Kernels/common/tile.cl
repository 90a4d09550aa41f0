// Products by tiles, for devices whose work-groups share local memory. A work-group computes MWG rows x NWG columns, in
// steps of KWG along the inner axis; a work-item owns MWI rows x NWI columns of it in registers. Its columns are NWI /
// LANES vectors that lie NWG * LANES / NWI apart, so that neighbours read neighbouring words.
#ifdef MWG

#define ITEMS_ACROSS (NWG / NWI)
#define TILE_GROUP ((MWG / MWI) * ITEMS_ACROSS)
#define VECTORS (NWI / LANES)
#define TILE_WORK_GROUP __attribute__((reqd_work_group_size(TILE_GROUP, 1, 1)))

inline int tile_row(int item, int i) { return item / ITEMS_ACROSS * MWI + i; }

inline int tile_column(int item, int vector) { return (vector * ITEMS_ACROSS + item % ITEMS_ACROSS) * LANES; }

// sums += the tile's product. `left` is KWG x MWG, `right` KWG x NWG.
inline void multiply_tiles(
    const local float *left, const local float *right, int item, floatv sums[MWI][VECTORS]) {
#pragma unroll
  for (int k = 0; k < KWG; ++k) {
    floatv factors[VECTORS];
#pragma unroll
    for (int vector = 0; vector < VECTORS; ++vector)
      factors[vector] = JOIN(vload, LANES)(0, right + k * NWG + tile_column(item, vector));
#pragma unroll
    for (int i = 0; i < MWI; ++i) {
      const float value = left[k * MWG + tile_row(item, i)];
#pragma unroll
      for (int vector = 0; vector < VECTORS; ++vector) sums[i][vector] += value * factors[vector];
    }
  }
}

#endif
