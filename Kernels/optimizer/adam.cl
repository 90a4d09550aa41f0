// One step of Adam with bias correction. Where the mask is 0 nothing changes.
kernel WORK_GROUP void adam(
    const global float *parameter, const global float *gradient, const global float *first, const global float *second,
    const global float *steps, const global float *mask, global float *new_parameter, global float *new_first,
    global float *new_second, global float *new_steps, const int count,
    const float4 constants) {  // learning rate, beta 1, beta 2, epsilon
  const int i = get_global_id(0);
  const float step = steps[0] + 1.0f;
  if (i == 0) new_steps[0] = step;
  if (i >= count) return;
  if (mask[i] == 0.0f) {
    new_parameter[i] = parameter[i];
    new_first[i] = first[i];
    new_second[i] = second[i];
    return;
  }
  const float m = constants.s1 * first[i] + (1.0f - constants.s1) * gradient[i];
  const float v = constants.s2 * second[i] + (1.0f - constants.s2) * gradient[i] * gradient[i];
  // 1 - beta^step; the error that OpenCL allows of pow is as large as this is in the first steps.
  const float corrected_m = m / -expm1(step * log(constants.s1));
  const float corrected_v = v / -expm1(step * log(constants.s2));
  new_parameter[i] = parameter[i] - constants.s0 * corrected_m / (sqrt(corrected_v) + constants.s3);
  new_first[i] = m;
  new_second[i] = v;
}
