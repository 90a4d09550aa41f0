// Pooling of channels-last data and its gradient; one work-item owns one position and LANES channels.

inline int window_begin(int position, int stride, int pad) { return position * stride - pad; }

// How many positions of a window count for the mean: those inside the data, or also those in the padding (but not
// those a last, partial window has beyond it).
inline int window_count(
    int begin, int taps, int dilation, int extent, int pad_end, bool counts_padding) {
  int count = 0;
  for (int tap = 0; tap < taps; ++tap) {
    const int position = begin + tap * dilation;
    if (counts_padding ? position < extent + pad_end : position >= 0 && position < extent) ++count;
  }
  return count;
}

kernel WORK_GROUP void pool(
    const global float *data, global float *result, const int kind,
    const int4 input,    // samples, height, width, channels
    const int2 output,   // height, width
    const int4 window,   // taps: rows, columns; dilation: rows, columns
    const int8 motion) { // stride: rows, columns; pad before: rows, columns; pad after: rows, columns; p, 0
  const int channels = input.s3;
  const int blocks = divide_up(channels, LANES);
  int item = get_global_id(0);
  const int channel = (item % blocks) * LANES;
  item /= blocks;
  const int pixel = item;
  const int out_column = item % output.s1;
  item /= output.s1;
  const int out_row = item % output.s0;
  const int sample = item / output.s0;
  if (sample >= input.s0) return;
  const int lanes = min(LANES, channels - channel);
  const int row_begin = window_begin(out_row, motion.s0, motion.s2);
  const int column_begin = window_begin(out_column, motion.s1, motion.s3);

  floatv value = (floatv)(kind == POOL_MAXIMUM ? -INFINITY : 0.0f);
  for (int tap_row = 0; tap_row < window.s0; ++tap_row) {
    const int row = row_begin + tap_row * window.s2;
    if (row < 0 || row >= input.s1) continue;
    for (int tap_column = 0; tap_column < window.s1; ++tap_column) {
      const int column = column_begin + tap_column * window.s3;
      if (column < 0 || column >= input.s2) continue;
      const floatv x =
          load_lanes(data + ((sample * input.s1 + row) * input.s2 + column) * channels + channel, lanes);
      switch (kind) {
        case POOL_MAXIMUM: value = x > value ? x : value; break;
        case POOL_NORM: value += pown(fabs(x), (intv)(motion.s6)); break;
        default: value += x;
      }
    }
  }
  if (kind == POOL_AVERAGE || kind == POOL_AVERAGE_WITH_PADDING) {
    const bool counts_padding = kind == POOL_AVERAGE_WITH_PADDING;
    value /= (float)(window_count(row_begin, window.s0, window.s2, input.s1, motion.s4, counts_padding) *
                     window_count(column_begin, window.s1, window.s3, input.s2, motion.s5, counts_padding));
  } else if (kind == POOL_NORM) {
    value = pow(value, (floatv)(1.0f / motion.s6));
  }
  store_lanes(value, result + pixel * channels + channel, lanes);
}

// Gathers for each input position from the windows that hold it. For `maximum` a window's gradient goes to its first
// maximum in row-major order.
kernel WORK_GROUP void pool_gradient(
    const global float *gradient, const global float *data, const global float *pooled, global float *result,
    const int kind,
    const int4 input,    // samples, height, width, channels
    const int2 output,   // height, width
    const int4 window,   // taps: rows, columns; dilation: rows, columns
    const int8 motion) { // stride: rows, columns; pad before: rows, columns; pad after: rows, columns; p, 0
  const int channels = input.s3;
  const int blocks = divide_up(channels, LANES);
  int item = get_global_id(0);
  const int channel = (item % blocks) * LANES;
  item /= blocks;
  const int pixel = item;
  const int in_column = item % input.s2;
  item /= input.s2;
  const int in_row = item % input.s1;
  const int sample = item / input.s1;
  if (sample >= input.s0) return;
  const int lanes = min(LANES, channels - channel);
  const int image = sample * input.s1 * input.s2;
  const floatv x = load_lanes(data + pixel * channels + channel, lanes);

  floatv sum = (floatv)(0.0f);
  for (int tap_row = 0; tap_row < window.s0; ++tap_row) {
    const int row_position = in_row + motion.s2 - tap_row * window.s2;
    if (row_position < 0 || row_position % motion.s0 != 0 || row_position / motion.s0 >= output.s0) continue;
    const int out_row = row_position / motion.s0;
    const int row_begin = window_begin(out_row, motion.s0, motion.s2);
    for (int tap_column = 0; tap_column < window.s1; ++tap_column) {
      const int column_position = in_column + motion.s3 - tap_column * window.s3;
      if (column_position < 0 || column_position % motion.s1 != 0 || column_position / motion.s1 >= output.s1) continue;
      const int out_column = column_position / motion.s1;
      const int column_begin = window_begin(out_column, motion.s1, motion.s3);
      const int index = ((sample * output.s0 + out_row) * output.s1 + out_column) * channels + channel;
      const floatv incoming = load_lanes(gradient + index, lanes);
      if (kind == POOL_MAXIMUM) {
        const floatv largest = load_lanes(pooled + index, lanes);
        intv is_first = x == largest;
        for (int before = 0; before < tap_row * window.s1 + tap_column; ++before) {
          const int row = row_begin + (before / window.s1) * window.s2;
          const int column = column_begin + (before % window.s1) * window.s3;
          if (row < 0 || row >= input.s1 || column < 0 || column >= input.s2) continue;
          const floatv other = load_lanes(data + (image + row * input.s2 + column) * channels + channel, lanes);
          is_first = is_first && !(other == largest);
        }
        sum += is_first ? incoming : (floatv)(0.0f);
      } else if (kind == POOL_NORM) {
        const floatv norm = load_lanes(pooled + index, lanes);
        const floatv slope = sign(x) * pown(fabs(x) / norm, (intv)(motion.s6 - 1));
        sum += norm == (floatv)(0.0f) ? (floatv)(0.0f) : incoming * slope;
      } else {
        const bool counts_padding = kind == POOL_AVERAGE_WITH_PADDING;
        sum += incoming /
               (float)(window_count(row_begin, window.s0, window.s2, input.s1, motion.s4, counts_padding) *
                       window_count(column_begin, window.s1, window.s3, input.s2, motion.s5, counts_padding));
      }
    }
  }
  store_lanes(sum, result + pixel * channels + channel, lanes);
}
