// Convolution and its input gradient (the transposed convolution) on channels-last data.
//
// Both are one sum: output position o reads input position (o * multiplier + tap * step + offset) / divisor wherever
// that is whole and inside. A convolution has multiplier = stride, step = dilation, offset = -padding, divisor = 1; its
// transpose multiplier = 1, step = -dilation, offset = padding, divisor = stride.
//
// One work-item owns PIXELS output positions of one row that read alike (they lie `divisor` apart) and LANES output
// channels of one group. The weight is packed as group x channel block x tap row x tap column x input channel x lane,
// lanes beyond the last channel are 0.

kernel WORK_GROUP void convolution(
    const global float *data, const global float *weight, const global float *bias,
    const int4 input,      // height, width, channels, groups
    const int4 output,     // samples, height, width, channels
    const int2 taps,       // height, width
    const int4 across,     // the mapping of rows: multiplier, step, offset, divisor
    const int4 along,      // the mapping of columns
    EPILOGUE_PARAMETERS) {
  const int groups = input.s3;
  const int group_inputs = input.s2 / groups;
  const int group_outputs = output.s3 / groups;
  const int phases = along.s3;
  const int runs = divide_up(divide_up(output.s2, phases), PIXELS);
  const int blocks = divide_up(group_outputs, LANES);

  int item = get_global_id(0);
  const int run = item % runs;
  item /= runs;
  const int phase = item % phases;
  item /= phases;
  const int out_row = item % output.s1;
  item /= output.s1;
  const int sample = item % output.s0;
  item /= output.s0;
  const int block = item % blocks;
  const int group = item / blocks;
  const int first_column = phase + run * PIXELS * phases;
  if (group >= groups || first_column >= output.s2) return;
  const int pixels = min(PIXELS, divide_up(output.s2 - first_column, phases));
  const int channel = group * group_outputs + block * LANES;
  const int lanes = min(LANES, group_outputs - block * LANES);

  floatv sums[PIXELS];
  const floatv start = bias ? load_lanes(bias + channel, lanes) : (floatv)(0.0f);
#pragma unroll
  for (int pixel = 0; pixel < PIXELS; ++pixel) sums[pixel] = start;

  for (int tap_row = 0; tap_row < taps.s0; ++tap_row) {
    const int across_position = out_row * across.s0 + tap_row * across.s1 + across.s2;
    const int in_row = across_position / across.s3;
    if (across_position < 0 || across_position % across.s3 != 0 || in_row >= input.s0) continue;
    for (int tap_column = 0; tap_column < taps.s1; ++tap_column) {
      const int along_position = first_column * along.s0 + tap_column * along.s1 + along.s2;
      if (along_position % along.s3 != 0) continue;
      const int in_column = along_position / along.s3;
      const int pitch = along.s0 * input.s2;
      const int base =
          ((sample * input.s0 + in_row) * input.s1 + in_column) * input.s2 + group * group_inputs;
      const global float *factors =
          weight + (((group * blocks + block) * taps.s0 + tap_row) * taps.s1 + tap_column) * group_inputs * LANES;
      if (pixels == PIXELS && in_column >= 0 && in_column + (PIXELS - 1) * along.s0 < input.s1) {
        for (int c = 0; c < group_inputs; ++c) {
          const floatv factor = JOIN(vload, LANES)(c, factors);
#pragma unroll
          for (int pixel = 0; pixel < PIXELS; ++pixel) sums[pixel] += data[base + pixel * pitch + c] * factor;
        }
      } else {
#pragma unroll
        for (int pixel = 0; pixel < PIXELS; ++pixel) {
          const int column = in_column + pixel * along.s0;
          if (pixel < pixels && column >= 0 && column < input.s1) {
            for (int c = 0; c < group_inputs; ++c)
              sums[pixel] += data[base + pixel * pitch + c] * JOIN(vload, LANES)(c, factors);
          }
        }
      }
    }
  }

#pragma unroll
  for (int pixel = 0; pixel < PIXELS; ++pixel) {
    if (pixel < pixels) {
      const int row = (sample * output.s1 + out_row) * output.s2 + first_column + pixel * phases;
      epilogue(sums[pixel], row, channel, output.s3, lanes, EPILOGUE_ARGUMENTS);
    }
  }
}
