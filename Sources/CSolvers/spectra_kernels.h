// Transforms and products of spectra for one type of element. Included once per type, with REAL, VECTOR (64 bytes of
// them), LOAD (a vector from floats) and NAME (of this type's functions).

enum { NAME(WIDTH) = 64 / sizeof(REAL) };
#define WIDTH NAME(WIDTH)
#define COMPLEX NAME(complex)

typedef struct {
  VECTOR re, im;
} COMPLEX;

// MARK: Butterflies

CATENA_INLINE COMPLEX NAME(plus)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re + b.re, a.im + b.im}; }
CATENA_INLINE COMPLEX NAME(minus)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re - b.re, a.im - b.im}; }
// a - i b and a + i b.
CATENA_INLINE COMPLEX NAME(minus_i)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re + b.im, a.im - b.re}; }
CATENA_INLINE COMPLEX NAME(plus_i)(COMPLEX a, COMPLEX b) { return (COMPLEX){a.re - b.im, a.im + b.re}; }

CATENA_INLINE void NAME(butterfly)(int radix, COMPLEX *a) {
  if (radix == 2) {
    COMPLEX sum = NAME(plus)(a[0], a[1]);
    a[1] = NAME(minus)(a[0], a[1]);
    a[0] = sum;
  } else if (radix == 3) {
    const REAL sine = 0.86602540378443864676;
    COMPLEX sum = NAME(plus)(a[1], a[2]), turned = NAME(minus)(a[1], a[2]);
    COMPLEX middle = {a[0].re - (REAL)0.5 * sum.re, a[0].im - (REAL)0.5 * sum.im};
    turned.re *= sine;
    turned.im *= sine;
    a[0] = NAME(plus)(a[0], sum);
    a[1] = NAME(minus_i)(middle, turned);
    a[2] = NAME(plus_i)(middle, turned);
  } else if (radix == 4) {
    COMPLEX even = NAME(plus)(a[0], a[2]), odd = NAME(plus)(a[1], a[3]);
    COMPLEX left = NAME(minus)(a[0], a[2]), right = NAME(minus)(a[1], a[3]);
    a[0] = NAME(plus)(even, odd);
    a[1] = NAME(minus_i)(left, right);
    a[2] = NAME(minus)(even, odd);
    a[3] = NAME(plus_i)(left, right);
  } else {
    const REAL c1 = 0.30901699437494742410, c2 = -0.80901699437494742410;
    const REAL s1 = 0.95105651629515357212, s2 = 0.58778525229247312917;
    COMPLEX p = NAME(plus)(a[1], a[4]), q = NAME(plus)(a[2], a[3]);
    COMPLEX r = NAME(minus)(a[1], a[4]), t = NAME(minus)(a[2], a[3]);
    COMPLEX first = {a[0].re + c1 * p.re + c2 * q.re, a[0].im + c1 * p.im + c2 * q.im};
    COMPLEX second = {a[0].re + c2 * p.re + c1 * q.re, a[0].im + c2 * p.im + c1 * q.im};
    COMPLEX outer = {s1 * r.re + s2 * t.re, s1 * r.im + s2 * t.im};
    COMPLEX inner = {s2 * r.re - s1 * t.re, s2 * r.im - s1 * t.im};
    a[0] = NAME(plus)(a[0], NAME(plus)(p, q));
    a[1] = NAME(minus_i)(first, outer);
    a[2] = NAME(minus_i)(second, inner);
    a[3] = NAME(plus_i)(second, inner);
    a[4] = NAME(plus_i)(first, outer);
  }
}

// MARK: Transforms

// What a transform reads: complex values `step` apart, or two real images as real and imaginary part; zeros behind
// `count`.
typedef struct {
  const COMPLEX *values;
  const float *left, *right;
  int64_t step, count;
} NAME(line);

enum { NAME(FROM_BUFFER), NAME(FROM_VALUES), NAME(FROM_IMAGES) };

CATENA_INLINE COMPLEX NAME(element)(int kind, const NAME(line) *line, int64_t index) {
  if (kind == NAME(FROM_BUFFER)) return line->values[index];
  if (index >= line->count) return (COMPLEX){{0}, {0}};
  if (kind == NAME(FROM_VALUES)) return line->values[index * line->step];
  COMPLEX value = {LOAD(line->left + index * line->step), {0}};
  if (line->right) value.im = LOAD(line->right + index * line->step);
  return value;
}

// One stage of Stockham's transform of `radix * parts` points, `run` of them side by side.
CATENA_INLINE void NAME(stage)(
  int radix, int kind, const NAME(line) *line, COMPLEX *to, int64_t parts, int64_t run, const REAL *factors
) {
  for (int64_t p = 0; p < parts; p++, factors += 2 * (radix - 1)) {
    for (int64_t q = 0; q < run; q++) {
      COMPLEX a[5];
      for (int k = 0; k < radix; k++) a[k] = NAME(element)(kind, line, q + run * (p + parts * k));
      NAME(butterfly)(radix, a);
      COMPLEX *into = to + q + run * radix * p;
      into[0] = a[0];
      for (int k = 1; k < radix; k++) {
        REAL cosine = factors[2 * k - 2], sine = factors[2 * k - 1];
        into[run * k] =
          p == 0 ? a[k] : (COMPLEX){a[k].re * cosine + a[k].im * sine, a[k].im * cosine - a[k].re * sine};
      }
    }
  }
}

CATENA_INLINE void NAME(any_stage)(
  int radix, int kind, const NAME(line) *line, COMPLEX *to, int64_t parts, int64_t run, const REAL *factors
) {
  switch (radix) {
    case 2: NAME(stage)(2, kind, line, to, parts, run, factors); break;
    case 3: NAME(stage)(3, kind, line, to, parts, run, factors); break;
    case 4: NAME(stage)(4, kind, line, to, parts, run, factors); break;
    default: NAME(stage)(5, kind, line, to, parts, run, factors);
  }
}

// `buffers` holds twice the axis.
CATENA_INLINE void NAME(transform)(
  const axis *axis, int kind, const NAME(line) *source, COMPLEX *to, COMPLEX *buffers
) {
  if (axis->stages == 0) to[0] = NAME(element)(kind, source, 0);
  NAME(line) line = *source;
  const REAL *factors = axis->factors;
  int64_t parts = axis->size, run = 1;
  for (int64_t stage = 0; stage < axis->stages; stage++) {
    int radix = axis->radices[stage];
    parts /= radix;
    COMPLEX *target = stage + 1 == axis->stages ? to : buffers + stage % 2 * axis->size;
    if (stage == 0) {
      NAME(any_stage)(radix, kind, &line, target, parts, run, factors);
    } else {
      NAME(any_stage)(radix, NAME(FROM_BUFFER), &line, target, parts, run, factors);
    }
    line.values = target;
    factors += 2 * (radix - 1) * parts;
    run *= radix;
  }
}

CATENA_INLINE void NAME(store)(VECTOR *to, COMPLEX value) {
  to[0] = value.re + value.im;
  to[1] = value.re - value.im;
  to[2] = value.im;
}

// Along a row of a plane, all channels: two images as one complex image.
CATENA_INLINE void NAME(transform_row)(
  const catena_spectra *s, const float *left, const float *right, int64_t step, int64_t columns, COMPLEX *to,
  COMPLEX *buffers
) {
  int64_t size = s->columns.size, rows = s->plane_rows, frequency = s->slots / 2 * s->vectors * rows;
  COMPLEX *row = buffers + 2 * size;
  for (int64_t channel = 0; channel < s->channels; channel += WIDTH, to += rows) {
    NAME(line) source = {NULL, left + channel, right ? right + channel : NULL, step, columns};
    NAME(transform)(&s->columns, NAME(FROM_IMAGES), &source, row, buffers);
    for (int64_t x = 0; x < size; x++) to[x * frequency] = row[x];
  }
}

// Along the columns, for frequency x along the rows. Of the transform Z of two images as one complex image the values
// at f and, conjugate, at -f are stored: they stand for both images in every product that is summed over them.
CATENA_INLINE void NAME(transform_columns)(
  const catena_spectra *s, const COMPLEX *half, int64_t rows, int64_t x, REAL *to, COMPLEX *buffers
) {
  int64_t size = s->rows.size, step = s->slots / 2 * s->vectors * s->plane_rows;
  int64_t opposite = x == 0 ? 0 : s->columns.size - x;
  COMPLEX *positive = buffers + 2 * size, *negative = opposite == x ? positive : positive + size;
  NAME(line) source = {half + x * step, NULL, NULL, 1, rows};
  NAME(transform)(&s->rows, NAME(FROM_VALUES), &source, positive, buffers);
  if (opposite != x) {
    source.values = half + opposite * step;
    NAME(transform)(&s->rows, NAME(FROM_VALUES), &source, negative, buffers);
  }
  int64_t count = s->starts[x + 1] - s->starts[x];
  for (int64_t y = 0; y < count; y++, to += 3 * s->slots * s->spectrum_channels) {
    COMPLEX opposed = negative[y == 0 ? 0 : size - y];
    NAME(store)((VECTOR *)to, positive[y]);
    NAME(store)((VECTOR *)to + 3, (COMPLEX){opposed.re, -opposed.im});
  }
}

// MARK: Products

// Of one frequency 8 channels from `left` by a vector of them from `right`: twice the real and twice the imaginary part
// of the sum of conjugate(X_i) X_j = (a_i - i b_i)(a_j + i b_j), by three real products: (a - b)_i (a + b)_j, the same
// with i and j exchanged, b_i b_j.
CATENA_INLINE void NAME(multiply)(const REAL *left, const REAL *right, int64_t slots, REAL *product) {
  VECTOR lower[8] = {0}, upper[8] = {0}, imaginary[8] = {0};
  for (int64_t slot = 0; slot < slots; slot++, left += 3 * WIDTH, right += 3 * WIDTH) {
    const VECTOR *r = (const VECTOR *)right;
    VECTOR sum = r[0], difference = r[1], part = r[2];
    for (int i = 0; i < 8; i++) {
      lower[i] += left[WIDTH + i] * sum;
      upper[i] += left[i] * difference;
      imaginary[i] += left[2 * WIDTH + i] * part;
    }
  }
  for (int i = 0; i < 8; i++) {
    *(VECTOR *)(product + i * WIDTH) = lower[i] + upper[i] + 4 * imaginary[i];
    *(VECTOR *)(product + (8 + i) * WIDTH) = lower[i] - upper[i];
  }
}

// sums[m][row] += sum over frequencies of factors[frequency][m] products[frequency][row], for `count` of the `lags` m
// and 4 rows, which are PANEL apart; the first time they are set.
CATENA_INLINE void NAME(invert_rows)(
  int count, bool is_first, const REAL *products, const REAL *factors, int64_t frequencies, int64_t lags, REAL *sums,
  int64_t lag_step
) {
  VECTOR total[5][4] = {0};
  for (int m = 0; m < count && !is_first; m++) {
    for (int i = 0; i < 4; i++) total[m][i] = *(const VECTOR *)(sums + m * lag_step + i * PANEL);
  }
  for (int64_t f = 0; f < frequencies; f++, products += 32 * WIDTH, factors += lags) {
    for (int i = 0; i < 4; i++) {
      VECTOR value = *(const VECTOR *)(products + i * WIDTH);
      for (int m = 0; m < count; m++) total[m][i] += factors[m] * value;
    }
  }
  for (int m = 0; m < count; m++) {
    for (int i = 0; i < 4; i++) *(VECTOR *)(sums + m * lag_step + i * PANEL) = total[m][i];
  }
}

// The sums of a block of channels for frequency x along the rows: [lag m][real, imaginary][STRIP][PANEL].
CATENA_INLINE void NAME(add_frequencies)(
  const catena_spectra *s, const block *b, const REAL *spectra, int64_t slots, int64_t x, REAL *products, REAL *sums
) {
  int64_t lags = 2 * s->rows.lag_count - 1, lag_step = 2 * STRIP * PANEL;
  int64_t step = 3 * s->slots * s->spectrum_channels, count = s->starts[x + 1] - s->starts[x];
  const REAL *factors = x == 0 || 2 * x == s->columns.size ? s->half_row_factors : s->row_factors;
  for (int64_t first = 0; first < count; first += CHUNK) {
    int64_t chunk = catena_minimum(CHUNK, count - first);
    const REAL *left = spectra + first * step + 3 * b->left * s->slots;
    const REAL *right = spectra + first * step + 3 * b->right * s->slots;
    for (int64_t column = 0; column < b->columns; column += WIDTH) {
      for (int64_t f = 0; f < chunk; f++) {
        for (int64_t row = 0; row < STRIP; row += 8) {
          const REAL *rows = left + f * step + 3 * (row / WIDTH * WIDTH) * s->slots + row % WIDTH;
          REAL *product = products + (2 * f + row / 8) * 16 * WIDTH;
          NAME(multiply)(rows, right + f * step + 3 * column * s->slots, slots, product);
        }
      }
      // Four rows at a time: of the upper and the lower half, real and imaginary.
      for (int part = 0; part < 8; part++) {
        const REAL *from = products + part * 4 * WIDTH, *factor = factors + first * lags;
        REAL *to = sums + part / 2 % 2 * STRIP * PANEL + (part / 4 * 8 + part % 2 * 4) * PANEL + column;
        int64_t m = 0;
        for (; m + 5 <= lags; m += 5) {
          NAME(invert_rows)(5, first == 0, from, factor + m, chunk, lags, to + m * lag_step, lag_step);
        }
        for (; m + 3 <= lags; m += 3) {
          NAME(invert_rows)(3, first == 0, from, factor + m, chunk, lags, to + m * lag_step, lag_step);
        }
        for (; m < lags; m++) {
          NAME(invert_rows)(1, first == 0, from, factor + m, chunk, lags, to + m * lag_step, lag_step);
        }
      }
    }
  }
}

// totals[row lag][column lag][4] += sums of frequencies times cosine and sine along the columns.
CATENA_INLINE void NAME(invert_columns)(
  const catena_spectra *s, const block *b, const REAL *sums, int64_t first, int64_t count, REAL *totals
) {
  int64_t lags = s->columns.lag_count, square = STRIP * PANEL, step = (2 * s->rows.lag_count - 1) * 2 * square;
  const REAL *table = (const REAL *)s->column_factors + first * 2 * lags;
  for (int64_t y = 0; y < s->rows.lag_count; y++) {
    // Along the rows: cosine 0, and cosine and sine of every other lag; of each the real and the imaginary part.
    const REAL *cosines = sums + (y == 0 ? 0 : 2 * y - 1) * 2 * square;
    const REAL *sines = y == 0 ? NULL : cosines + 2 * square;
    for (int64_t x = 0; x < lags; x++) {
      for (int64_t row = 0; row < STRIP; row++) {
        for (int64_t column = 0; column < b->columns; column += WIDTH) {
          int64_t place = row * PANEL + column;
          VECTOR *to = (VECTOR *)(totals + (y * lags + x) * 4 * square + place);
          VECTOR total[4];
          for (int i = 0; i < 4; i++) total[i] = to[i * square / WIDTH];
          for (int64_t f = 0; f < count; f++) {
            REAL cosine = table[(f * lags + x) * 2], sine = table[(f * lags + x) * 2 + 1];
            const REAL *p = cosines + f * step + place;
            total[0] += cosine * *(const VECTOR *)p;
            total[3] += sine * *(const VECTOR *)(p + square);
            if (!sines) continue;
            const REAL *q = sines + f * step + place;
            total[1] += sine * *(const VECTOR *)q;
            total[2] += cosine * *(const VECTOR *)(q + square);
          }
          for (int i = 0; i < 4; i++) to[i * square / WIDTH] = total[i];
        }
      }
    }
  }
}

// target[i][j] += symmetric + sign * antisymmetric part, over a block.
CATENA_INLINE void NAME(add_to_cell)(
  const REAL *totals, REAL first, REAL second, REAL third, int64_t columns, REAL *target, int64_t stride
) {
  enum { SQUARE = STRIP * PANEL };
  for (int64_t row = 0; row < STRIP; row++) {
    for (int64_t column = 0; column < columns; column += WIDTH) {
      const REAL *from = totals + row * PANEL + column;
      *(VECTOR *)(target + row * stride + column) +=
        *(const VECTOR *)from + first * *(const VECTOR *)(from + SQUARE) + second * *(const VECTOR *)(from + 2 * SQUARE)
        + third * *(const VECTOR *)(from + 3 * SQUARE);
    }
  }
}

CATENA_INLINE void NAME(add_totals)(const catena_spectra *s, const block *b, const REAL *totals, REAL *sums) {
  int64_t n = s->group_channels, lags = s->columns.lag_count;
  for (int64_t y = 0; y < s->rows.lag_count; y++) {
    for (int64_t x = 0; x < lags; x++) {
      const REAL *from = totals + (y * lags + x) * 4 * STRIP * PANEL;
      for (int side = 0; side < (x == 0 || y == 0 ? 1 : 2); side++) {
        const int32_t *target = b->targets + 2 * (y * (2 * lags - 1) + (x == 0 ? 0 : 2 * x - 1 + side));
        // The distance (y, x) or (y, -x): of the left channel, then of the right one.
        REAL sign = side == 0 ? 1 : -1;
        if (target[0] >= 0) {
          REAL *cell = sums + (b->first_cell + target[0]) * n * n;
          NAME(add_to_cell)(from, -sign, -1, -sign, b->columns, cell + b->row * n + b->column, n);
        }
        if (target[1] < 0) continue;
        REAL *cell = sums + (b->first_cell + target[1]) * n * n;
        if (!b->is_mirrored) {
          NAME(add_to_cell)(from, -sign, 1, sign, b->columns, cell + b->row * n + b->column, n);
          continue;
        }
        // Of one image with itself: above the diagonal, every square transposed.
        for (int64_t column = 0; column < b->columns && b->column + column < b->row; column += STRIP) {
          NAME(add_to_cell)(
            from + column, -sign, 1, sign, STRIP, cell + (b->column + column) * n + b->row, n);
        }
      }
    }
  }
}

// Adds the products of a block for the frequencies `begin ..< end` along the rows; `spectra` begins with the first.
CATENA_INLINE void NAME(add_block)(
  const catena_spectra *s, const block *b, const REAL *spectra, int64_t slots, int64_t begin, int64_t end, REAL *sums,
  REAL *scratch
) {
  int64_t step = (2 * s->rows.lag_count - 1) * 2 * STRIP * PANEL;
  int64_t total = s->rows.lag_count * s->columns.lag_count * 4 * STRIP * PANEL;
  REAL *products = scratch, *partial = products + CHUNK * 32 * WIDTH, *totals = partial + TOGETHER * step;
  memset(totals, 0, (size_t)total * sizeof(REAL));
  for (int64_t first = begin; first < end; first += TOGETHER) {
    int64_t together = catena_minimum(TOGETHER, end - first);
    for (int64_t x = first; x < first + together; x++) {
      const REAL *from = spectra + (s->starts[x] - s->starts[begin]) * 3 * s->slots * s->spectrum_channels;
      NAME(add_frequencies)(s, b, from, slots, x, products, partial + (x - first) * step);
    }
    NAME(invert_columns)(s, b, partial, first, together, totals);
  }
  NAME(add_totals)(s, b, totals, sums);
}

// The squares above the diagonal that `add_totals` left transposed.
CATENA_INLINE void NAME(turn)(REAL *matrix, int64_t channels) {
  for (int64_t row = 0; row < channels; row += STRIP) {
    for (int64_t column = row + STRIP; column < channels; column += STRIP) {
      REAL *square = matrix + row * channels + column;
      for (int64_t i = 0; i < STRIP; i++) {
        for (int64_t j = 0; j < i; j++) {
          REAL kept = square[i * channels + j];
          square[i * channels + j] = square[j * channels + i];
          square[j * channels + i] = kept;
        }
      }
    }
  }
}

#undef WIDTH
#undef COMPLEX
