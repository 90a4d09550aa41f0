// Convolution and its input gradient (the transposed convolution) on channels-last data, over up to three spatial axes
// (depth, height, width; a missing one has extent 1).
//
// Both are one sum: output position o reads input position (o * multiplier + tap * step + offset) / divisor wherever
// that is whole and inside. A convolution has multiplier = stride, step = dilation, offset = -padding, divisor = 1; its
// transpose multiplier = 1, step = -dilation, offset = padding, divisor = stride.

// The input position that output position `o` reads with `tap`; -1 where there is none.
inline int read_position(int o, int tap, int4 mapping, int extent) {
  const int position = o * mapping.s0 + tap * mapping.s1 + mapping.s2;
  if (mapping.s3 == 1) return position < extent ? max(position, -1) : -1;
  if (position < 0 || position % mapping.s3 != 0) return -1;
  return position / mapping.s3 < extent ? position / mapping.s3 : -1;
}

#define CONVOLUTION_PARAMETERS                                                                                      \
  const global float *data, const global float *weight, const global float *bias,                                 \
      const int8 input,  /* depth, height, width, channels, groups, blocks of a work-item (depthwise), 0, 0 */        \
      const int8 output, /* samples, depth, height, width, channels, 0, 0, 0 */                                     \
      const int4 taps,   /* depth, height, width, 0 */                                                              \
      const int4 deep,   /* the mapping of planes: multiplier, step, offset, divisor */                             \
      const int4 across, /* the mapping of rows */                                                                  \
      const int4 along   /* the mapping of columns */

// One work-item owns PIXELS output positions of one row that read alike (they lie `divisor` apart) and LANES output
// channels of one group. The weight is packed as group x channel block x taps x input channel x lane, lanes beyond the
// last channel are 0.
kernel WORK_GROUP void convolution(CONVOLUTION_PARAMETERS, EPILOGUE_PARAMETERS) {
  const int groups = input.s4;
  const int group_inputs = input.s3 / groups;
  const int group_outputs = output.s4 / groups;
  const int phases = along.s3;
  const int runs = divide_up(divide_up(output.s3, phases), PIXELS);
  const int blocks = divide_up(group_outputs, LANES);

  int item = get_global_id(0);
  const int run = item % runs;
  item /= runs;
  const int phase = item % phases;
  item /= phases;
  const int out_row = item % output.s2;
  item /= output.s2;
  const int out_plane = item % output.s1;
  item /= output.s1;
  const int sample = item % output.s0;
  item /= output.s0;
  const int block = item % blocks;
  const int group = item / blocks;
  const int first_column = phase + run * PIXELS * phases;
  if (group >= groups || first_column >= output.s3) return;
  const int pixels = min(PIXELS, divide_up(output.s3 - first_column, phases));
  const int channel = group * group_outputs + block * LANES;
  const int lanes = min(LANES, group_outputs - block * LANES);
  const int pitch = along.s0 * input.s3;

  floatv sums[PIXELS];
  const floatv start = bias ? load_lanes(bias + channel, lanes) : (floatv)(0.0f);
#pragma unroll
  for (int pixel = 0; pixel < PIXELS; ++pixel) sums[pixel] = start;

  const global float *factors = weight + (group * blocks + block) * taps.s0 * taps.s1 * taps.s2 * group_inputs * LANES;
  for (int tap_plane = 0; tap_plane < taps.s0; ++tap_plane) {
    const int in_plane = read_position(out_plane, tap_plane, deep, input.s0);
    for (int tap_row = 0; tap_row < taps.s1; ++tap_row) {
      const int in_row = read_position(out_row, tap_row, across, input.s1);
      for (int tap_column = 0; tap_column < taps.s2; ++tap_column, factors += group_inputs * LANES) {
        const int along_position = first_column * along.s0 + tap_column * along.s1 + along.s2;
        if (in_plane < 0 || in_row < 0 || along_position % along.s3 != 0) continue;
        const int in_column = along_position / along.s3;
        const int base =
            (((sample * input.s0 + in_plane) * input.s1 + in_row) * input.s2 + in_column) * input.s3 +
            group * group_inputs;
        if (pixels == PIXELS && in_column >= 0 && in_column + (PIXELS - 1) * along.s0 < input.s2) {
          add_products(sums, data + base, pitch, 1, factors, LANES, group_inputs);
        } else {
          // Where some read outside they read what another does, and forget it.
          int inside = -1;
          for (int pixel = 0; pixel < pixels && inside < 0; ++pixel) {
            const int column = in_column + pixel * along.s0;
            if (column >= 0 && column < input.s2) inside = pixel;
          }
          if (inside < 0) continue;
          floatv kept[PIXELS];
          int offsets[PIXELS];
          bool is_inside[PIXELS];
#pragma unroll
          for (int pixel = 0; pixel < PIXELS; ++pixel) {
            const int column = in_column + pixel * along.s0;
            is_inside[pixel] = pixel < pixels && column >= 0 && column < input.s2;
            offsets[pixel] = (is_inside[pixel] ? pixel : inside) * pitch;
            kept[pixel] = sums[pixel];
          }
          add_products_at(sums, data + base, offsets, 1, factors, LANES, group_inputs);
#pragma unroll
          for (int pixel = 0; pixel < PIXELS; ++pixel) sums[pixel] = is_inside[pixel] ? sums[pixel] : kept[pixel];
        }
      }
    }
  }

#pragma unroll
  for (int pixel = 0; pixel < PIXELS; ++pixel) {
    if (pixel < pixels) {
      const int row = ((sample * output.s1 + out_plane) * output.s2 + out_row) * output.s3 + first_column + pixel * phases;
      epilogue(sums[pixel], row, channel, output.s4, lanes, EPILOGUE_ARGUMENTS);
    }
  }
}

// The taps of one axis that read inside, from the first to behind the last.
inline int2 taps_inside(int o, int count, int4 mapping, int extent) {
  int2 range = (int2)(0, count);
  while (range.x < range.y && read_position(o, range.x, mapping, extent) < 0) ++range.x;
  while (range.x < range.y && read_position(o, range.y - 1, mapping, extent) < 0) --range.y;
  return range;
}

// Where work-items are many, what they need of registers decides: there a run is of two positions.
#if PIXELS > 4
#define WIDEST_RUN PIXELS
#else
#define WIDEST_RUN 2
#endif

// The sums of `count` neighbouring positions of a row of a depthwise convolution, for LANES channels from `channel` on. All
// taps of a row read inside, so that nothing is asked in between, and a tap's factors are loaded once for all positions.
inline __attribute__((always_inline)) void depthwise_sums(
    const int count, floatv *results, int4 at, /* plane, row, column of the first position */
    int channel, int2 planes, int2 rows, const global float *source, CONVOLUTION_PARAMETERS) {
  const int pixel_size = output.s4;
  const int pitch = along.s0 * pixel_size;
  floatv sums[WIDEST_RUN];
#pragma unroll
  for (int pixel = 0; pixel < count; ++pixel) sums[pixel] = results[pixel];
  for (int tap_plane = planes.x; tap_plane < planes.y; ++tap_plane) {
    const int in_plane = at.s0 * deep.s0 + tap_plane * deep.s1 + deep.s2;
    for (int tap_row = rows.x; tap_row < rows.y; ++tap_row) {
      const int in_row = at.s1 * across.s0 + tap_row * across.s1 + across.s2;
      const int in_column = at.s2 * along.s0 + along.s2;
      const global float *from =
          source + ((in_plane * input.s1 + in_row) * input.s2 + in_column) * pixel_size + channel;
      const global float *factors = weight + (tap_plane * taps.s1 + tap_row) * taps.s2 * pixel_size + channel;
#pragma unroll
      for (int pixel = 0; pixel < count; ++pixel) EXPECT_READ(from + (pixel + PIXELS) * pitch);
      for (int tap_column = 0; tap_column < taps.s2; ++tap_column) {
        const floatv factor = load_lanes(factors, LANES);
#pragma unroll
        for (int pixel = 0; pixel < count; ++pixel) sums[pixel] += load_lanes(from + pixel * pitch, LANES) * factor;
        from += along.s1 * pixel_size;
        factors += pixel_size;
      }
    }
  }
#pragma unroll
  for (int pixel = 0; pixel < count; ++pixel) results[pixel] = sums[pixel];
}

#define DEPTHWISE_SUMS(count)                                                                                      \
  depthwise_sums(                                                                                                   \
      count, sums, (int4)(out_plane, out_row, out_column, 0), channel, planes, rows, source, data, weight, bias,   \
      input, output, taps, deep, across, along)

// Every channel by itself: as many groups as input and output channels. One work-item owns PIXELS output positions of one
// row and, of each, input.s5 blocks of LANES channels: all of them where one work-item after the other runs on a core,
// which then reads memory from front to back; one where neighbours read together. The weight is packed as taps x channel.
kernel WORK_GROUP void convolution_depthwise(CONVOLUTION_PARAMETERS, EPILOGUE_PARAMETERS) {
  const int count = output.s4;
  const int width = input.s5 * LANES;
  const int parts = divide_up(count, width);
  const int runs = divide_up(output.s3, PIXELS);
  int item = get_global_id(0);
  const int first_channel = (item % parts) * width;
  const int last_channel = min(first_channel + width, count);
  item /= parts;
  const int first_column = (item % runs) * PIXELS;
  const int last_column = min(first_column + PIXELS, output.s3);
  item /= runs;
  const int first_pixel = item * output.s3;
  const int out_row = item % output.s2;
  item /= output.s2;
  const int out_plane = item % output.s1;
  const int sample = item / output.s1;
  if (sample >= output.s0) return;
  const global float *source = data + sample * input.s0 * input.s1 * input.s2 * count;
  const int2 planes = taps_inside(out_plane, taps.s0, deep, input.s0);
  const int2 rows = taps_inside(out_row, taps.s1, across, input.s1);
  const bool has_all_taps = deep.s3 == 1 && across.s3 == 1 && along.s3 == 1;
  // What the last tap's column lies behind the first one's; before it where the mapping is a transpose.
  const int reach = (taps.s2 - 1) * along.s1;
  int pixels;
  for (int out_column = first_column; out_column < last_column; out_column += pixels) {
    const int column = out_column * along.s0 + along.s2;
    // From here on so many positions read inside with every tap of a row.
    int inside = 0;
    if (has_all_taps && column + min(reach, 0) >= 0 && column + max(reach, 0) < input.s2)
      inside = min((input.s2 - 1 - max(reach, 0) - column) / along.s0 + 1, last_column - out_column);
    pixels = inside >= WIDEST_RUN ? WIDEST_RUN : min(inside, 4);
    pixels = pixels < 2 ? 1 : pixels < 4 ? 2 : pixels;
    for (int channel = first_channel; channel < last_channel; channel += LANES) {
      const int lanes = min(LANES, count - channel);
      const floatv start = bias ? load_lanes(bias + channel, lanes) : (floatv)(0.0f);
      floatv sums[WIDEST_RUN];
#pragma unroll
      for (int pixel = 0; pixel < WIDEST_RUN; ++pixel) sums[pixel] = start;
      if (pixels == WIDEST_RUN && lanes == LANES) {
        DEPTHWISE_SUMS(WIDEST_RUN);
#if WIDEST_RUN > 2
      } else if (pixels == 4 && lanes == LANES) {
        DEPTHWISE_SUMS(4);
      } else if (pixels == 2 && lanes == LANES) {
        DEPTHWISE_SUMS(2);
      } else if (inside == 1 && lanes == LANES) {
        DEPTHWISE_SUMS(1);
#endif
      } else {
        for (int number = 0; number < pixels; ++number) {
          floatv sum = start;
          for (int tap_plane = planes.x; tap_plane < planes.y; ++tap_plane) {
            const int in_plane = read_position(out_plane, tap_plane, deep, input.s0);
            for (int tap_row = rows.x; tap_row < rows.y; ++tap_row) {
              const int in_row = read_position(out_row, tap_row, across, input.s1);
              if (in_plane < 0 || in_row < 0) continue;
              const global float *factors = weight + (tap_plane * taps.s1 + tap_row) * taps.s2 * count + channel;
              for (int tap_column = 0; tap_column < taps.s2; ++tap_column, factors += count) {
                const int in_column = read_position(out_column + number, tap_column, along, input.s2);
                const int position = (in_plane * input.s1 + in_row) * input.s2 + in_column;
                if (in_column >= 0)
                  sum += load_lanes(source + position * count + channel, lanes) * load_lanes(factors, lanes);
              }
            }
          }
          // A number that is not known would keep the sums in memory.
#pragma unroll
          for (int pixel = 0; pixel < WIDEST_RUN; ++pixel) sums[pixel] = pixel == number ? sum : sums[pixel];
        }
      }
#pragma unroll
      for (int pixel = 0; pixel < WIDEST_RUN; ++pixel) {
        const int row = first_pixel + out_column + pixel;
        EXPECT_WRITE(store0 + (row + PIXELS) * count + channel);
        if (pixel < pixels) epilogue(sums[pixel], row, channel, count, lanes, EPILOGUE_ARGUMENTS);
      }
    }
  }
}
