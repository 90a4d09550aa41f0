// The gradient of gates: per region and channel, the sum of gradient * data. Two stages in a fixed order, without
// atomic operations, so that equal inputs give equal bits.

// First stage. Data and gradient are rows x channels x inner; a region is `rows_per_region` consecutive rows. One
// work-item sums a part of one region's rows for STEP channels (inner = 1) or for one channel; partial sums are
// region x part x channel.
kernel WORK_GROUP void gate_gradient_partial(
    const global float *gradient, const global float *data, global float *partial,
    const int4 extents,  // regions, rows per region, channels, inner
    const int2 parts) {  // parts, rows per part
  const int channels = extents.s2;
  const int inner = extents.s3;
  const int step = inner == 1 ? STEP : 1;
  const int blocks = divide_up(channels, step);
  int item = get_global_id(0);
  const int channel = (item % blocks) * step;
  item /= blocks;
  const int part = item % parts.s0;
  const int region = item / parts.s0;
  if (region >= extents.s0) return;
  const int begin = region * extents.s1 + part * parts.s1;
  const int end = min(begin + parts.s1, (region + 1) * extents.s1);
  global float *target = partial + (region * parts.s0 + part) * channels + channel;
  if (inner == 1 && channel + STEP <= channels) {
    floatv sums[BLOCKS];
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) sums[block] = (floatv)(0.0f);
    for (int row = begin; row < end; ++row) {
      const int index = row * channels + channel;
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        const int first = index + block * LANES;
        sums[block] += load_lanes(gradient + first, LANES) * load_lanes(data + first, LANES);
      }
    }
#pragma unroll
    for (int block = 0; block < BLOCKS; ++block) store_lanes(sums[block], target + block * LANES, LANES);
  } else if (inner == 1) {
    for (int first = channel; first < channels; first += LANES) {
      const int lanes = min(LANES, channels - first);
      floatv sum = (floatv)(0.0f);
      for (int row = begin; row < end; ++row) {
        const int index = row * channels + first;
        sum += load_lanes(gradient + index, lanes) * load_lanes(data + index, lanes);
      }
      store_lanes(sum, target + first - channel, lanes);
    }
  } else {
    float sum = 0.0f;
    for (int row = begin; row < end; ++row) {
      const int index = (row * channels + channel) * inner;
      floatv lane_sums = (floatv)(0.0f);
      int i = 0;
      for (; i + LANES <= inner; i += LANES)
        lane_sums += load_lanes(gradient + index + i, LANES) * load_lanes(data + index + i, LANES);
      float row_sum = sum_of_lanes(lane_sums);
      for (; i < inner; ++i) row_sum += gradient[index + i] * data[index + i];
      sum += row_sum;
    }
    *target = sum;
  }
}

// Second stage: sums the parts. One work-group owns LANES channels of a region; its work-items share out the parts, and
// their sums are added in a fixed order. With `gate` the data were the gate's output: divided by the gate, 0 where that
// is 0.
kernel WORK_GROUP void gate_gradient_total(
    const global float *partial, const global float *gate, global float *result, const int channels, const int parts) {
  local floatv shares[GROUP_SIZE];
  const int item = get_local_id(0);
  const int blocks = divide_up(channels, LANES);
  const int region = (int)get_group_id(0) / blocks;
  const int channel = (int)get_group_id(0) % blocks * LANES;
  const int lanes = min(LANES, channels - channel);
  const global float *from = partial + region * parts * channels + channel;
  floatv sum = (floatv)(0.0f);
  for (int part = item; part < parts; part += GROUP_SIZE) sum += load_lanes(from + part * channels, lanes);
  shares[item] = sum;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size) shares[item] += shares[item + half_size];
  }
  if (item == 0) {
    const int first = region * channels + channel;
    sum = shares[0];
    if (gate) {
      const floatv divisor = load_lanes(gate + first, lanes);
      sum = divisor == (floatv)(0.0f) ? (floatv)(0.0f) : sum / divisor;
    }
    store_lanes(sum, result + first, lanes);
  }
}
