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

// Instance normalisation: the mean of each sample's channel and the factor scale / deviation, samples x channels.
// Sample n's channel c lies at n * strides.s0 + c * strides.s1 + i * strides.s2.
kernel WORK_GROUP void instance_normalization_factors(
    const global float *data, const global float *scale, global float *means, global float *factors,
    const int4 extents,  // samples, channels, positions, 0
    const int4 strides, const float epsilon) {
  const int item = get_global_id(0);
  if (item >= extents.s0 * extents.s1) return;
  const int channel = item % extents.s1;
  const global float *from = data + (item / extents.s1) * strides.s0 + channel * strides.s1;
  float sum = 0.0f;
  for (int begin = 0; begin < extents.s2;) {
    // Sums of sums: a long running sum in float would lose what a mean needs.
    const int end = min(begin + 64, extents.s2);
    float part = 0.0f;
    for (int i = begin; i < end; ++i) part += from[i * strides.s2];
    sum += part;
    begin = end;
  }
  const float mean = sum / extents.s2;
  float squares = 0.0f;
  for (int begin = 0; begin < extents.s2;) {
    const int end = min(begin + 64, extents.s2);
    float part = 0.0f;
    for (int i = begin; i < end; ++i) {
      const float deviation = from[i * strides.s2] - mean;
      part += deviation * deviation;
    }
    squares += part;
    begin = end;
  }
  means[item] = mean;
  factors[item] = scale[channel] / sqrt(squares / extents.s2 + epsilon);
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
