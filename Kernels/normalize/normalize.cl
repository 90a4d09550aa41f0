// Batch normalisation at inference is one factor and one summand per channel.
kernel WORK_GROUP void batch_normalization_factors(
    const global float *scale, const global float *bias, const global float *mean, const global float *variance,
    global float *factors, global float *summands, const int channels, const float epsilon) {
  const int channel = get_global_id(0);
  if (channel >= channels) return;
  const float factor = scale[channel] / sqrt(variance[channel] + epsilon);
  factors[channel] = factor;
  summands[channel] = bias[channel] - mean[channel] * factor;
}

// Instance normalisation, first stage: the mean of a part of each sample's channel and the sum of squares of the
// distances from it, samples x parts x channels. Sample n's channel c lies at n * strides.s0 + c * strides.s1 + i *
// strides.s2; neighbours in a vector are channels where those lie together, positions elsewhere. Data are read once: a
// block's mean is known before its squares are summed, and blocks are joined as Chan, Golub and LeVeque (1979) do, which
// loses nothing where the mean is large.
kernel WORK_GROUP void instance_normalization_partial(
    const global float *data, global float *means, global float *squares,
    const int4 extents,  // samples, channels, positions, 0
    const int4 strides,
    const int2 parts) {  // parts, positions per part
  const bool has_channels_together = strides.s1 == 1;
  const int step = has_channels_together ? STEP : 1;
  const int blocks = divide_up(extents.s1, step);
  int item = get_global_id(0);
  const int channel = (item % blocks) * step;
  item /= blocks;
  const int part = item % parts.s0;
  const int sample = item / parts.s0;
  if (sample >= extents.s0) return;
  const int begin = part * parts.s1;
  const int end = min(begin + parts.s1, extents.s2);
  const global float *from = data + sample * strides.s0 + channel * strides.s1;
  const int target = (sample * parts.s0 + part) * extents.s1 + channel;
  if (has_channels_together) {
    if (channel + STEP <= extents.s1) {
      floatv mean[BLOCKS];
      floatv total[BLOCKS];
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) mean[block] = total[block] = (floatv)(0.0f);
      for (int first = begin; first < end; first += 64) {
        const int stop = min(first + 64, end);
        floatv sum[BLOCKS];
        floatv some[BLOCKS];
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block) sum[block] = some[block] = (floatv)(0.0f);
        for (int i = first; i < stop; ++i) {
#pragma unroll
          for (int block = 0; block < BLOCKS; ++block)
            sum[block] += load_lanes(from + i * strides.s2 + block * LANES, LANES);
        }
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block) sum[block] /= (float)(stop - first);
        for (int i = first; i < stop; ++i) {
#pragma unroll
          for (int block = 0; block < BLOCKS; ++block) {
            const floatv deviation = load_lanes(from + i * strides.s2 + block * LANES, LANES) - sum[block];
            some[block] += deviation * deviation;
          }
        }
        const float share = (float)(stop - first) / (float)(stop - begin);
#pragma unroll
        for (int block = 0; block < BLOCKS; ++block) {
          const floatv difference = sum[block] - mean[block];
          mean[block] += difference * share;
          total[block] += some[block] + difference * difference * (share * (float)(first - begin));
        }
      }
#pragma unroll
      for (int block = 0; block < BLOCKS; ++block) {
        store_lanes(mean[block], means + target + block * LANES, LANES);
        store_lanes(total[block], squares + target + block * LANES, LANES);
      }
      return;
    }
    for (int block = 0; block < extents.s1 - channel; block += LANES) {
      const int lanes = min(LANES, extents.s1 - channel - block);
      floatv mean = (floatv)(0.0f);
      floatv total = (floatv)(0.0f);
      for (int first = begin; first < end; first += 64) {
        const int stop = min(first + 64, end);
        floatv sum = (floatv)(0.0f);
        for (int i = first; i < stop; ++i) sum += load_lanes(from + i * strides.s2 + block, lanes);
        sum /= (float)(stop - first);
        floatv some = (floatv)(0.0f);
        for (int i = first; i < stop; ++i) {
          const floatv deviation = load_lanes(from + i * strides.s2 + block, lanes) - sum;
          some += deviation * deviation;
        }
        const float share = (float)(stop - first) / (float)(stop - begin);
        const floatv difference = sum - mean;
        mean += difference * share;
        total += some + difference * difference * (share * (float)(first - begin));
      }
      store_lanes(mean, means + target + block, lanes);
      store_lanes(total, squares + target + block, lanes);
    }
    return;
  }
  float mean = 0.0f;
  float total = 0.0f;
  for (int block = begin; block < end; block += 64 * LANES) {
    const int stop = min(block + 64 * LANES, end);
    floatv sums = (floatv)(0.0f);
    int i = block;
    for (; i + LANES <= stop; i += LANES) sums += load_lanes(from + i, LANES);
    float sum = sum_of_lanes(sums);
    for (; i < stop; ++i) sum += from[i];
    const float block_mean = sum / (float)(stop - block);
    sums = (floatv)(0.0f);
    for (i = block; i + LANES <= stop; i += LANES) {
      const floatv deviation = load_lanes(from + i, LANES) - block_mean;
      sums += deviation * deviation;
    }
    float some = sum_of_lanes(sums);
    for (; i < stop; ++i) some += (from[i] - block_mean) * (from[i] - block_mean);
    const float share = (float)(stop - block) / (float)(stop - begin);
    const float difference = block_mean - mean;
    mean += difference * share;
    total += some + difference * difference * (share * (float)(block - begin));
  }
  means[target] = mean;
  squares[target] = total;
}

// Second stage: the mean of each sample's channel and the factor scale / deviation, samples x channels. One work-group
// owns LANES channels of a sample; its work-items share out the parts and are joined in a fixed order.
kernel WORK_GROUP void instance_normalization_factors(
    const global float *part_means, const global float *part_squares, const global float *scale, global float *means,
    global float *factors, const int4 extents, const int2 parts, const float epsilon) {
  local floatv shared_means[GROUP_SIZE];
  local floatv shared_totals[GROUP_SIZE];
  local int counts[GROUP_SIZE];
  const int item = get_local_id(0);
  const int channels = extents.s1;
  const int blocks = divide_up(channels, LANES);
  const int sample = (int)get_group_id(0) / blocks;
  const int channel = (int)get_group_id(0) % blocks * LANES;
  const int lanes = min(LANES, channels - channel);
  floatv mean = (floatv)(0.0f);
  floatv total = (floatv)(0.0f);
  int seen = 0;
  for (int part = item; part < parts.s0; part += GROUP_SIZE) {
    const int count = min(parts.s1, extents.s2 - part * parts.s1);
    if (count <= 0) break;
    const int first = (sample * parts.s0 + part) * channels + channel;
    const float share = (float)count / (float)(seen + count);
    const floatv difference = load_lanes(part_means + first, lanes) - mean;
    mean += difference * share;
    total += load_lanes(part_squares + first, lanes) + difference * difference * (share * (float)seen);
    seen += count;
  }
  shared_means[item] = mean;
  shared_totals[item] = total;
  counts[item] = seen;
  for (int half_size = GROUP_SIZE / 2; half_size > 0; half_size /= 2) {
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < half_size && counts[item + half_size] > 0) {
      const int count = counts[item + half_size];
      const float share = (float)count / (float)(counts[item] + count);
      const floatv difference = shared_means[item + half_size] - shared_means[item];
      shared_means[item] += difference * share;
      shared_totals[item] +=
          shared_totals[item + half_size] + difference * difference * (share * (float)counts[item]);
      counts[item] += count;
    }
  }
  if (item == 0) {
    const int target = sample * channels + channel;
    const floatv deviation = sqrt(shared_totals[0] / (float)extents.s2 + epsilon);
    store_lanes(shared_means[0], means + target, lanes);
    store_lanes(load_lanes(scale + channel, lanes) / deviation, factors + target, lanes);
  }
}

// Local response normalisation over outer x channels x inner: a channel's window is `size` channels that begin
// (size - 1) / 2 before it.

inline float response_base(
    const global float *data, int position, int channel, int channels, int inner, float4 constants, int size) {
  const int first = channel - (size - 1) / 2;
  float sum = 0.0f;
  for (int other = max(first, 0); other < min(first + size, channels); ++other) {
    const float x = data[position + (other - channel) * inner];
    sum += x * x;
  }
  return constants.s2 + constants.s0 / size * sum;
}

kernel WORK_GROUP void response_normalization(
    const global float *data, global float *result,
    const int4 extents,        // outer, channels, inner, size
    const float4 constants) {  // alpha, beta, bias, 0
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1 * extents.s2) return;
  const int channel = (item / extents.s2) % extents.s1;
  const float base = response_base(data, item, channel, extents.s1, extents.s2, constants, extents.s3);
  result[item] = data[item] / pow(base, constants.s1);
}

// First stage of the gradient: gradient * output / base, and the base.
kernel WORK_GROUP void response_normalization_shares(
    const global float *gradient, const global float *data, const global float *output, global float *shares,
    global float *bases, const int4 extents, const float4 constants) {
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1 * extents.s2) return;
  const int channel = (item / extents.s2) % extents.s1;
  const float base = response_base(data, item, channel, extents.s1, extents.s2, constants, extents.s3);
  bases[item] = base;
  shares[item] = gradient[item] * output[item] / base;
}

// Second stage: the channels whose windows hold this one give their shares.
kernel WORK_GROUP void response_normalization_gradient(
    const global float *gradient, const global float *data, const global float *shares, const global float *bases,
    global float *result, const int4 extents, const float4 constants) {
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1 * extents.s2) return;
  const int channel = (item / extents.s2) % extents.s1;
  const int last = channel + (extents.s3 - 1) / 2;
  float sum = 0.0f;
  for (int reader = max(last - extents.s3 + 1, 0); reader <= min(last, extents.s1 - 1); ++reader)
    sum += shares[item + (reader - channel) * extents.s2];
  result[item] = gradient[item] / pow(bases[item], constants.s1) -
                 2.0f * constants.s0 * constants.s1 / extents.s3 * data[item] * sum;
}
