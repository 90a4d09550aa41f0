// 3 x 3 convolutions of stride 1 with 4 x 9 / 36 = a quarter of the multiplications: Winograd's minimal filtering
// F(4 x 4, 3 x 3) on channels-last images (Lavin and Gray, 2015). The points 0, +-5/8, +-3/2 and infinity keep rounding
// errors small (Vincent et al., "On improving the numerical stability of Winograd convolutions", 2017); the matrices
// below follow from them by Toom and Cook's construction.
//
// A tile is 4 x 4 results and the 6 x 6 sources they need. A block of tiles is transformed to 36 matrices of tiles x
// channels, each is multiplied by its own weights, and the products are transformed back, all by one thread. There the
// channels are whole vectors, padded with zeros. Tiles come in groups: of a group a vector of channels of all points, of each
// the tiles, then the next vector. Whatever is read and written then lies at distances known to the compiler, and a
// tile's 36 vectors in different sets of the cache.
#include "../panels.h"

enum { TILE = 4, PATCH = 6, POINTS = PATCH * PATCH, GROUP = 12 };
// Floats from a tile's vector at one point to that at the next, and from a group's vectors of channels to the next.
enum { POINT_STRIDE = GROUP * LANES, VECTOR_STRIDE = POINTS * POINT_STRIDE };
// Of more channels than these products ask for the next vector, which lies on another page and no longer in a near cache.
enum { FAR_DEPTH = 256 };

#define A 0.625f
#define B 1.5f

typedef struct {
  catena_winograd problem;
  int64_t tiles_down, tiles_across, tiles, block_tiles, blocks;
  // Source and destination channels with padding.
  int64_t depth, columns;
  // Whether the products of a point take the place of what was multiplied: they do where one panel has all columns, so that
  // nothing reads it again.
  bool products_replace;
  product_operands at;
  float *scratch;
  int64_t floats_per_thread;
} winograd_step;

// MARK: Blocks

size_t catena_winograd_weight_bytes(const catena_winograd *problem) {
  return (size_t)(POINTS * problem->source_channels * rounded_up(problem->destination_channels, LANES)) * sizeof(float);
}

static winograd_step plan(const catena_winograd *problem, int32_t threads) {
  winograd_step step = {.problem = *problem};
  step.depth = rounded_up(problem->source_channels, LANES);
  step.columns = rounded_up(problem->destination_channels, LANES);
  step.tiles_down = (problem->destination_height + TILE - 1) / TILE;
  step.tiles_across = (problem->destination_width + TILE - 1) / TILE;
  step.tiles = problem->batch * step.tiles_down * step.tiles_across;
  // The smaller a block, the nearer stays what it keeps; but every block reads all weights, which has to be worth it where
  // they come from far away.
  int64_t weight_bytes = (int64_t)catena_winograd_weight_bytes(problem);
  int64_t wanted = weight_bytes <= 1 << 20 ? GROUP : weight_bytes <= 16 << 20 ? 3 * GROUP : 6 * GROUP;
  int64_t share = (step.tiles + threads - 1) / threads;
  int64_t blocks = catena_maximum((share + wanted - 1) / wanted, 1) * threads;
  // Wide products take half a group at a time.
  step.block_tiles = quotient_rounded_up(step.tiles, blocks);
  if (step.block_tiles > GROUP) step.block_tiles = rounded_up(step.block_tiles, GROUP / 2);
  step.blocks = (step.tiles + step.block_tiles - 1) / step.block_tiles;
  step.products_replace = step.columns <= catena_minimum(step.depth, MAX_PANEL * LANES);
  step.floats_per_thread =
    rounded_up(step.block_tiles, GROUP) * POINTS * (step.depth + (step.products_replace ? 0 : step.columns));
  return step;
}

size_t catena_winograd_scratch_bytes(const catena_winograd *problem, int32_t threads) {
  return (size_t)(plan(problem, threads).floats_per_thread * threads) * sizeof(float);
}

double catena_winograd_cycles(const catena_winograd *problem) {
  winograd_step step = plan(problem, 1);
  double products = (double)(POINTS * problem->source_channels * step.columns) / LANES;
  // A vector that is partly padding is masked when it is loaded, and stored in parts, which takes as long again.
  double transforms = 27.0 * (double)(step.depth + step.columns);
  if (problem->source_channels % LANES != 0) transforms += 8.0 * LANES;
  if (problem->destination_channels % LANES != 0) transforms += 27.0 * LANES;
  return (double)(step.tiles_down * step.tiles_across) * (products + transforms);
}

// MARK: Weights

void catena_winograd_pack(const catena_winograd *problem, const float *weights, float *packed) {
  const double a = A, b = B, points[PATCH - 1] = {0, a, -a, b, -b};
  double rows[PATCH][3] = {[PATCH - 1] = {0, 0, 1}};
  for (int32_t i = 0; i < PATCH - 1; i++) {
    double scale = 1;
    for (int32_t j = 0; j < PATCH - 1; j++) scale *= i == j ? 1 : points[i] - points[j];
    for (int32_t power = 0; power < 3; power++) {
      rows[i][power] = (power == 0 ? 1 : power == 1 ? points[i] : points[i] * points[i]) / scale;
    }
  }
  int64_t sources = problem->source_channels, results = problem->destination_channels;
  int64_t columns = rounded_up(results, LANES);
  memset(packed, 0, catena_winograd_weight_bytes(problem));
  for (int64_t result = 0; result < results; result++) {
    int64_t panel = result / (MAX_PANEL * LANES) * (MAX_PANEL * LANES);
    int64_t width = panel_width(columns - panel);
    for (int64_t source = 0; source < sources; source++) {
      const float *taps = weights + (result * sources + source) * 9;
      float *target = packed + panel * sources + source * width + (result - panel);
      for (int32_t i = 0; i < PATCH; i++) {
        double across[3];
        for (int32_t x = 0; x < 3; x++) {
          across[x] = rows[i][0] * taps[x] + rows[i][1] * taps[3 + x] + rows[i][2] * taps[6 + x];
        }
        for (int32_t j = 0; j < PATCH; j++) {
          double value = rows[j][0] * across[0] + rows[j][1] * across[1] + rows[j][2] * across[2];
          target[(i * PATCH + j) * sources * columns] = (float)value;
        }
      }
    }
  }
}

// MARK: Transforms

// Six numbers, `stride` apart, to the six points.
CATENA_INLINE void to_points(const vector *from, int32_t stride, vector *to) {
  vector d1 = from[stride], d2 = from[2 * stride], d3 = from[3 * stride], d4 = from[4 * stride];
  vector even_a = d4 - B * B * d2, odd_a = A * (d3 - B * B * d1);
  vector even_b = d4 - A * A * d2, odd_b = B * (d3 - A * A * d1);
  to[0] = A * A * B * B * from[0] - (A * A + B * B) * d2 + d4;
  to[stride] = even_a + odd_a;
  to[2 * stride] = even_a - odd_a;
  to[3 * stride] = even_b + odd_b;
  to[4 * stride] = even_b - odd_b;
  to[5 * stride] = A * A * B * B * d1 - (A * A + B * B) * d3 + from[5 * stride];
}

// The products at the six points to four results.
CATENA_INLINE void from_points(const vector *from, int32_t stride, vector *to) {
  vector sum_a = from[stride] + from[2 * stride], difference_a = from[stride] - from[2 * stride];
  vector sum_b = from[3 * stride] + from[4 * stride], difference_b = from[3 * stride] - from[4 * stride];
  to[0] = from[0] + sum_a + sum_b;
  to[stride] = A * difference_a + B * difference_b;
  to[2 * stride] = A * A * sum_a + B * B * sum_b;
  to[3 * stride] = A * A * A * difference_a + B * B * B * difference_b + from[5 * stride];
}

typedef struct {
  int64_t sample, row, column;
} tile_place;

CATENA_INLINE tile_place place_of(const winograd_step *step, int64_t tile) {
  int64_t line = tile / step->tiles_across;
  return (tile_place){
    line / step->tiles_down, line % step->tiles_down * TILE, tile % step->tiles_across * TILE};
}

// Dividing for every tile would take as long as half of its transform.
CATENA_INLINE tile_place place_behind(const winograd_step *step, tile_place place) {
  place.column += TILE;
  if (place.column < step->problem.destination_width) return place;
  place.column = 0;
  place.row += TILE;
  if (place.row < step->problem.destination_height) return place;
  return (tile_place){place.sample + 1, 0, 0};
}

// The image's rows and columns, from first to before end, counted from a patch's corner.
typedef struct {
  int64_t first_row, end_row, first_column, end_column;
} patch_part;

// The number from `first` to before `end` that is nearest to `i`.
CATENA_INLINE int64_t nearest(int64_t i, int64_t first, int64_t end) {
  return catena_minimum(catena_maximum(i, first), end - 1);
}

// All bits of every lane, or none.
CATENA_INLINE bit_vector broadcast_bits(bool are_set) { return (bit_vector){} - (uint32_t)are_set; }

// What a patch is read from: the image, the index of the patch's corner, and how pixels are kept.
typedef struct {
  const void *image;
  int64_t corner, row_stride, column_stride;
  bool is_bfloat16;
} patch_source;

// Columns straight from the image, then rows straight to the points: one pass through memory between them. Of a patch that
// is not `whole`, what lies outside reads the nearest pixel inside, and forgets it, as is what lies behind the first `lanes`
// of a vector, the next pixel's.
CATENA_INLINE void transform_patch(patch_source from, patch_part part, bool is_whole, int64_t lanes, float *to) {
  bit_vector is_lane = (bit_vector)(lane_numbers < (uint32_t)lanes);
  int64_t rows[PATCH], columns[PATCH];
  bit_vector is_row[PATCH], is_column[PATCH];
  UNROLL for (int32_t i = 0; i < PATCH; i++) {
    rows[i] = from.corner + (is_whole ? i : nearest(i, part.first_row, part.end_row)) * from.row_stride;
    columns[i] = (is_whole ? i : nearest(i, part.first_column, part.end_column)) * from.column_stride;
    is_row[i] = broadcast_bits(i >= part.first_row && i < part.end_row);
    is_column[i] = broadcast_bits(i >= part.first_column && i < part.end_column);
  }
  vector across[POINTS];
  UNROLL for (int32_t j = 0; j < PATCH; j++) {
    vector column[PATCH], points[PATCH];
    UNROLL for (int32_t i = 0; i < PATCH; i++) {
      column[i] = load_from(from.image, rows[i] + columns[j], from.is_bfloat16);
      if (!is_whole) column[i] = (vector)((bit_vector)column[i] & is_row[i] & is_column[j]);
      if (lanes < LANES) column[i] = (vector)((bit_vector)column[i] & is_lane);
    }
    to_points(column, 1, points);
    UNROLL for (int32_t i = 0; i < PATCH; i++) across[i * PATCH + j] = points[i];
  }
  UNROLL for (int32_t i = 0; i < PATCH; i++) {
    vector points[PATCH];
    to_points(across + i * PATCH, 1, points);
    UNROLL for (int32_t j = 0; j < PATCH; j++) store(to + (i * PATCH + j) * POINT_STRIDE, points[j]);
  }
}

// Whether a whole vector of every pixel that a patch reads is in memory.
CATENA_INLINE bool is_readable(patch_source from, patch_part part, int64_t elements) {
  int64_t row = nearest(PATCH - 1, part.first_row, part.end_row);
  int64_t column = nearest(PATCH - 1, part.first_column, part.end_column);
  return from.corner + row * from.row_stride + column * from.column_stride + LANES <= elements;
}

// A patch whose last channels are fewer than a vector, as one of whole vectors in `copy`.
CATENA_INLINE patch_source padded_patch(patch_source from, patch_part part, int64_t lanes, float *copy) {
  memset(copy, 0, POINTS * LANES * sizeof(float));
  int64_t end_row = catena_minimum(part.end_row, PATCH), end_column = catena_minimum(part.end_column, PATCH);
  for (int64_t i = catena_maximum(part.first_row, 0); i < end_row; i++) {
    for (int64_t j = catena_maximum(part.first_column, 0); j < end_column; j++) {
      int64_t index = from.corner + i * from.row_stride + j * from.column_stride;
      store(copy + (i * PATCH + j) * LANES, load_lanes_from(from.image, index, from.is_bfloat16, lanes));
    }
  }
  return (patch_source){copy, 0, PATCH * LANES, LANES, false};
}

CATENA_INLINE void transform_part(const catena_winograd *problem, patch_source from, patch_part part, float *to) {
  int64_t lanes = problem->source_channels % LANES;
  int64_t pixels = problem->batch * problem->source_height * problem->source_width;
  bool is_inside = part.first_row <= 0 && part.first_column <= 0 && part.end_row >= PATCH && part.end_column >= PATCH;
  if (!is_readable(from, part, pixels * problem->source_channels)) {
    float copy[POINTS * LANES];
    transform_patch(padded_patch(from, part, lanes, copy), part, true, LANES, to);
  } else if (is_inside) {
    transform_patch(from, part, true, lanes, to);
  } else {
    transform_patch(from, part, false, lanes, to);
  }
}

// A patch of channels that fill no vector. A function of its own: beside it, registers do not suffice for the others.
CATENA_VECTORISED
static void transform_last_channels(
  const catena_winograd *problem, const patch_source *from, const patch_part *part, float *to
) {
  patch_source image = *from;
  if (image.is_bfloat16) {
    image.is_bfloat16 = true;
    transform_part(problem, image, *part, to);
  } else {
    image.is_bfloat16 = false;
    transform_part(problem, image, *part, to);
  }
}

CATENA_INLINE void transform_source(
  const winograd_step *step, tile_place place, float *to, bool is_bfloat16
) {
  const catena_winograd *problem = &step->problem;
  int64_t channels = problem->source_channels, height = problem->source_height, width = problem->source_width;
  int64_t top = place.row - problem->pad_top, left = place.column - problem->pad_left;
  int64_t corner = ((place.sample * height + top) * width + left) * channels;
  patch_source from = {step->at.source, corner, width * channels, channels, is_bfloat16};
  patch_part part = {-top, height - top, -left, width - left};
  bool is_inside = top >= 0 && left >= 0 && part.end_row >= PATCH && part.end_column >= PATCH;
  for (int64_t channel = 0; channel < channels; channel += LANES) {
    if (channels - channel < LANES) {
      transform_last_channels(problem, &from, &part, to);
    } else if (is_inside) {
      transform_patch(from, part, true, LANES, to);
    } else {
      transform_patch(from, part, false, LANES, to);
    }
    from.corner += LANES;
    to += VECTOR_STRIDE;
  }
}

// What stands for a tile where a group has fewer: numbers that were there might take long to multiply.
CATENA_INLINE void clear_tile(float *to, int64_t depth) {
  for (int64_t channel = 0; channel < depth; channel += LANES, to += VECTOR_STRIDE) {
    for (int32_t point = 0; point < POINTS; point++) store(to + point * POINT_STRIDE, (vector){0});
  }
}

// The part of a tile that lies inside the image, and how many of a vector's channels there are.
typedef struct {
  int64_t rows, columns, offset, row_stride, column_stride, lanes;
} tile_part;

#define EACH_RESULT(EXPRESSION) \
  UNROLL for (int32_t i = 0; i < TILE; i++) { \
    UNROLL for (int32_t j = 0; j < TILE; j++) { \
      vector value = results[i * TILE + j]; \
      results[i * TILE + j] = (EXPRESSION); \
    } \
  }
#define INDEX_OF(I, J) (part->offset + (I) * part->row_stride + (J) * part->column_stride)
// Results outside the image are not read from memory: what they become does not matter.
#define THERE(FROM) \
  (is_whole ? load_from(FROM, INDEX_OF(i, j), is_bfloat16) \
    : i < part->rows && j < part->columns ? load_lanes_from(FROM, INDEX_OF(i, j), is_bfloat16, part->lanes) \
    : (vector){0})

// One operation after the other on all results of a tile.
CATENA_INLINE void post_process(
  const winograd_step *step, const tile_part *part, bool is_whole, bool is_bfloat16, int64_t channel, vector *results
) {
  for (int32_t number = 0; number < step->at.post_operation_count; number++) {
    const void *operand = step->at.operands[number];
    bool is_factor = step->at.post_operations[number].kind == CATENA_POST_MULTIPLY_CHANNEL;
    vector factor = is_factor ? load_lanes((const float *)operand + channel, part->lanes) : (vector){0};
    POST_PROCESS(
      &step->at.post_operations[number], EACH_RESULT, factor, THERE(operand), THERE(step->at.destination))
  }
}

CATENA_INLINE void transform_tile(
  const winograd_step *step, const tile_part *part, bool is_whole, bool is_bfloat16, bool rounds, const float *from,
  int64_t channel
) {
  // Read once: what is stored might be the step for all the compiler knows.
  void *destination = step->at.destination;
  vector across[TILE * PATCH], results[TILE * TILE];
  UNROLL for (int32_t j = 0; j < PATCH; j++) {
    vector products[PATCH], four[TILE];
    UNROLL for (int32_t i = 0; i < PATCH; i++) products[i] = load(from + (i * PATCH + j) * POINT_STRIDE);
    from_points(products, 1, four);
    UNROLL for (int32_t i = 0; i < TILE; i++) across[i * PATCH + j] = four[i];
  }
  vector bias = step->at.bias == NULL ? (vector){0} : load_lanes(step->at.bias + channel, part->lanes);
  UNROLL for (int32_t i = 0; i < TILE; i++) {
    from_points(across + i * PATCH, 1, results + i * TILE);
    UNROLL for (int32_t j = 0; j < TILE; j++) results[i * TILE + j] += bias;
  }
  post_process(step, part, is_whole, is_bfloat16, channel, results);
  UNROLL for (int32_t i = 0; i < TILE; i++) {
    UNROLL for (int32_t j = 0; j < TILE; j++) {
      vector result = results[i * TILE + j];
      if (is_whole) {
        store_to(destination, INDEX_OF(i, j), result, is_bfloat16, rounds);
      } else if (i < part->rows && j < part->columns) {
        store_lanes_to(destination, INDEX_OF(i, j), result, is_bfloat16, rounds, part->lanes);
      }
    }
  }
}

CATENA_INLINE void transform_products(
  const winograd_step *step, tile_place place, const float *from, bool is_bfloat16, bool rounds
) {
  const catena_winograd *problem = &step->problem;
  int64_t channels = problem->destination_channels, width = problem->destination_width;
  tile_part part = {
    .rows = catena_minimum(problem->destination_height - place.row, TILE),
    .columns = catena_minimum(width - place.column, TILE),
    .offset = ((place.sample * problem->destination_height + place.row) * width + place.column) * channels,
    .row_stride = width * channels,
    .column_stride = channels,
  };
  bool is_whole = part.rows == TILE && part.columns == TILE;
  for (int64_t channel = 0; channel < channels; channel += LANES) {
    part.lanes = catena_minimum(channels - channel, LANES);
    if (is_whole && part.lanes == LANES) {
      transform_tile(step, &part, true, is_bfloat16, rounds, from, channel);
    } else {
      transform_tile(step, &part, false, is_bfloat16, rounds, from, channel);
    }
    part.offset += LANES;
    from += VECTOR_STRIDE;
  }
}

// MARK: Products

// The products of a group of tiles by a panel of VECTORS vectors of columns, ROWS tiles at a time: as many sums as the
// registers of the widest instruction set hold beside a panel's row.
#define GROUP_PRODUCTS(VECTORS, ROWS) \
  CATENA_INLINE void group_products_##VECTORS( \
    const float *group, int64_t count, int64_t depth, const float *panel, float *to \
  ) { \
    for (int32_t first = 0; first < GROUP && first < count; first += ROWS) { \
      vector sums[ROWS][VECTORS] = {}; \
      const float *vectors = group + first * LANES, *weights = panel; \
      for (int64_t k = 0; k < depth; k += LANES, vectors += VECTOR_STRIDE) { \
        const float *end = vectors + catena_minimum(depth - k, LANES); \
        if (depth > FAR_DEPTH) { \
          UNROLL for (int32_t i = 0; i < ROWS; i++) __builtin_prefetch(vectors + VECTOR_STRIDE + i * LANES); \
        } \
        for (const float *from = vectors; from < end; from++, weights += VECTORS * LANES) { \
          vector factors[VECTORS]; \
          UNROLL for (int32_t j = 0; j < VECTORS; j++) factors[j] = load(weights + j * LANES); \
          UNROLL for (int32_t i = 0; i < ROWS; i++) { \
            UNROLL for (int32_t j = 0; j < VECTORS; j++) sums[i][j] += from[i * LANES] * factors[j]; \
          } \
        } \
      } \
      UNROLL for (int32_t i = 0; i < ROWS; i++) { \
        UNROLL for (int32_t j = 0; j < VECTORS; j++) store(to + j * VECTOR_STRIDE + (first + i) * LANES, sums[i][j]); \
      } \
    } \
  }
GROUP_PRODUCTS(1, 12)
GROUP_PRODUCTS(2, 12)
GROUP_PRODUCTS(3, 6)
GROUP_PRODUCTS(4, 6)

// The products of a group at one point by all columns.
CATENA_INLINE void multiply(
  const float *group, int64_t count, int64_t depth, const float *weights, int64_t columns, float *to
) {
  for (int64_t column = 0; column < columns; column += MAX_PANEL * LANES) {
    const float *panel = weights + column * depth;
    float *results = to + column / LANES * VECTOR_STRIDE;
    switch (panel_width(columns - column) / LANES) {
    case 1: group_products_1(group, count, depth, panel, results); break;
    case 2: group_products_2(group, count, depth, panel, results); break;
    case 3: group_products_3(group, count, depth, panel, results); break;
    default: group_products_4(group, count, depth, panel, results); break;
    }
  }
}

// Where a tile's first vector lies among those of its block.
CATENA_INLINE int64_t offset_of(int64_t tile, int64_t channels) {
  return tile / GROUP * (channels / LANES * VECTOR_STRIDE) + tile % GROUP * LANES;
}

// MARK: Step

CATENA_INLINE void blocks(const winograd_step *step, catena_range share, float *sources, bool rounds) {
  int64_t depth = step->depth, columns = step->columns, channels = step->problem.source_channels;
  float *products = step->products_replace ? sources : sources + rounded_up(step->block_tiles, GROUP) * POINTS * depth;
  int64_t product_depth = step->products_replace ? depth : columns;
  for (int64_t block = share.begin; block < share.end; block++) {
    int64_t first = block * step->block_tiles;
    int64_t count = catena_minimum(step->tiles - first, step->block_tiles);
    const tile_place begin = place_of(step, first);
    tile_place place = begin;
    for (int64_t tile = 0; tile < count; tile++, place = place_behind(step, place)) {
      float *to = sources + offset_of(tile, depth);
      if (step->problem.reads_bfloat16) {
        transform_source(step, place, to, true);
      } else {
        transform_source(step, place, to, false);
      }
    }
    for (int64_t tile = count; tile % GROUP != 0; tile++) clear_tile(sources + offset_of(tile, depth), depth);
    for (int32_t point = 0; point < POINTS; point++) {
      const float *weights = step->at.weights + point * channels * columns;
      for (int64_t tile = 0; tile < count; tile += GROUP) {
        multiply(
          sources + offset_of(tile, depth) + point * POINT_STRIDE, count - tile, channels, weights, columns,
          products + offset_of(tile, product_depth) + point * POINT_STRIDE);
      }
    }
    place = begin;
    for (int64_t tile = 0; tile < count; tile++, place = place_behind(step, place)) {
      const float *from = products + offset_of(tile, product_depth);
      if (step->problem.writes_bfloat16) {
        transform_products(step, place, from, true, rounds);
      } else {
        transform_products(step, place, from, false, false);
      }
    }
  }
}

CATENA_VECTORISED
static void run_blocks(const winograd_step *step, catena_range share, float *sources) {
  blocks(step, share, sources, false);
}

CATENA_ROUNDING
static void run_rounding_blocks(const winograd_step *step, catena_range share, float *sources) {
  blocks(step, share, sources, true);
}

static void run_share(void *arguments) {
  const winograd_step *step = arguments;
  float *sources = step->scratch + catena_thread() * step->floats_per_thread;
  if (step->problem.writes_bfloat16 && catena_can_round()) {
    run_rounding_blocks(step, catena_share(step->blocks), sources);
  } else {
    run_blocks(step, catena_share(step->blocks), sources);
  }
}

static catena_status run_winograd(const void *arguments) {
  catena_parallel(run_share, arguments, INT64_MAX);
  return catena_success;
}

void catena_add_winograd(
  catena_program *program, const catena_winograd *problem, const void *source, const float *packed, const float *bias,
  void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch
) {
  winograd_step *step = catena_add_step(program, run_winograd, sizeof(winograd_step), NULL);
  *step = plan(problem, threads);
  step->at = operands_of(source, packed, bias, destination, post_operations, post_operation_count, operands);
  step->scratch = scratch;
}
