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
