// Pooling of channels-last data and its gradient, over up to three spatial axes (depth, height, width; a missing one has
// extent 1). One work-item owns one position and LANES channels.

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

// What a mean divides by, for the window that begins at `begin`.
inline float window_divisor(int4 begin, int4 taps, int4 dilation, int4 extents, int4 pad_end, bool counts_padding) {
  return (float)(
      window_count(begin.s0, taps.s0, dilation.s0, extents.s0, pad_end.s0, counts_padding) *
      window_count(begin.s1, taps.s1, dilation.s1, extents.s1, pad_end.s1, counts_padding) *
      window_count(begin.s2, taps.s2, dilation.s2, extents.s2, pad_end.s2, counts_padding));
}

inline bool is_inside(int4 position, int4 extents) {
  return position.s0 >= 0 && position.s0 < extents.s0 && position.s1 >= 0 && position.s1 < extents.s1 &&
         position.s2 >= 0 && position.s2 < extents.s2;
}

// The element at `position` of a sample in units of channels.
inline int pixel_index(int sample, int4 position, int4 extents) {
  return ((sample * extents.s0 + position.s0) * extents.s1 + position.s1) * extents.s2 + position.s2;
}

#define POOL_PARAMETERS                                                                                            \
  const int kind, const int2 batch, /* samples, channels */                                                        \
      const int4 input,             /* depth, height, width, 0 */                                                   \
      const int4 output, const int4 taps, const int4 dilation, const int4 stride, const int4 pad_begin,            \
      const int4 pad_end, const int p

kernel WORK_GROUP void pool(const global float *data, global float *result, POOL_PARAMETERS) {
  const int channels = batch.s1;
  const int blocks = divide_up(channels, LANES);
  int item = get_global_id(0);
  const int channel = (item % blocks) * LANES;
  item /= blocks;
  const int pixel = item;
  const int out_column = item % output.s2;
  item /= output.s2;
  const int out_row = item % output.s1;
  item /= output.s1;
  const int out_plane = item % output.s0;
  const int sample = item / output.s0;
  if (sample >= batch.s0) return;
  const int lanes = min(LANES, channels - channel);
  const int4 begin = (int4)(out_plane, out_row, out_column, 0) * stride - pad_begin;

  floatv value = (floatv)(kind == POOL_MAXIMUM ? -INFINITY : 0.0f);
  const int column_begin = begin.s2;
  const int column_step = dilation.s2;
  for (int tap_plane = 0; tap_plane < taps.s0; ++tap_plane) {
    const int plane = begin.s0 + tap_plane * dilation.s0;
    if (plane < 0 || plane >= input.s0) continue;
    for (int tap_row = 0; tap_row < taps.s1; ++tap_row) {
      const int row = begin.s1 + tap_row * dilation.s1;
      if (row < 0 || row >= input.s1) continue;
      const global float *line =
          data + ((sample * input.s0 + plane) * input.s1 + row) * input.s2 * channels + channel;
      for (int tap_column = 0; tap_column < taps.s2; ++tap_column) {
        const int column = column_begin + tap_column * column_step;
        if (column < 0 || column >= input.s2) continue;
        const floatv x = load_lanes(line + column * channels, lanes);
        switch (kind) {
          case POOL_MAXIMUM: value = isnan(value) || value > x ? value : x; break;
          case POOL_NORM: value += pown(fabs(x), (intv)(p)); break;
          default: value += x;
        }
      }
    }
  }
  if (kind == POOL_AVERAGE || kind == POOL_AVERAGE_WITH_PADDING)
    value /= window_divisor(begin, taps, dilation, input, pad_end, kind == POOL_AVERAGE_WITH_PADDING);
  else if (kind == POOL_NORM)
    value = pow(value, (floatv)(1.0f / p));
  store_lanes(value, result + pixel * channels + channel, lanes);
}

// Where along one axis the window begins that reads `position` with its tap `tap`; -1 where there is none.
inline int reading_window(int position, int tap, int dilation, int stride, int pad, int windows) {
  const int offset = position + pad - tap * dilation;
  return offset < 0 || offset % stride != 0 || offset / stride >= windows ? -1 : offset / stride;
}

// Gathers for each input position from the windows that hold it. For `maximum` a window's gradient goes to its first
// maximum in row-major order.
kernel WORK_GROUP void pool_gradient(
    const global float *gradient, const global float *data, const global float *pooled, global float *result,
    POOL_PARAMETERS) {
  const int channels = batch.s1;
  const int blocks = divide_up(channels, LANES);
  int item = get_global_id(0);
  const int channel = (item % blocks) * LANES;
  item /= blocks;
  const int pixel = item;
  const int in_column = item % input.s2;
  item /= input.s2;
  const int in_row = item % input.s1;
  item /= input.s1;
  const int in_plane = item % input.s0;
  const int sample = item / input.s0;
  if (sample >= batch.s0) return;
  const int lanes = min(LANES, channels - channel);
  const floatv x = load_lanes(data + pixel * channels + channel, lanes);

  floatv sum = (floatv)(0.0f);
  for (int tap = 0; tap < taps.s0 * taps.s1 * taps.s2; ++tap) {
    const int4 place = (int4)(tap / (taps.s1 * taps.s2), tap / taps.s2 % taps.s1, tap % taps.s2, 0);
    const int4 window = (int4)(
        reading_window(in_plane, place.s0, dilation.s0, stride.s0, pad_begin.s0, output.s0),
        reading_window(in_row, place.s1, dilation.s1, stride.s1, pad_begin.s1, output.s1),
        reading_window(in_column, place.s2, dilation.s2, stride.s2, pad_begin.s2, output.s2), 0);
    if (window.s0 < 0 || window.s1 < 0 || window.s2 < 0) continue;
    const int4 begin = window * stride - pad_begin;
    const int index = pixel_index(sample, window, output) * channels + channel;
    const floatv incoming = load_lanes(gradient + index, lanes);
    if (kind == POOL_MAXIMUM) {
      const floatv largest = load_lanes(pooled + index, lanes);
      intv is_first = x == largest;
      for (int before = 0; before < tap; ++before) {
        const int4 other_place =
            (int4)(before / (taps.s1 * taps.s2), before / taps.s2 % taps.s1, before % taps.s2, 0);
        const int4 position = begin + other_place * dilation;
        if (!is_inside(position, input)) continue;
        const floatv other = load_lanes(data + pixel_index(sample, position, input) * channels + channel, lanes);
        is_first = is_first && !(other == largest);
      }
      sum += is_first ? incoming : (floatv)(0.0f);
    } else if (kind == POOL_NORM) {
      const floatv norm = load_lanes(pooled + index, lanes);
      const floatv slope = sign(x) * pown(fabs(x) / norm, (intv)(p - 1));
      sum += norm == (floatv)(0.0f) ? (floatv)(0.0f) : incoming * slope;
    } else {
      sum += incoming /
             window_divisor(begin, taps, dilation, input, pad_end, kind == POOL_AVERAGE_WITH_PADDING);
    }
  }
  store_lanes(sum, result + pixel * channels + channel, lanes);
}
