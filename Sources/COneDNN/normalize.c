// Normalisation over channels or pixels, channels last, and the optimiser's step.
#include "functions.h"

// MARK: Local response

typedef struct {
  catena_lrn lrn;
  const float *gradient, *source, *output;
  float *destination;
  int64_t pixels, channels;
} lrn_step;

static float base_of(const lrn_step *step, const float *pixel, int64_t channel) {
  int64_t first = catena_maximum(0, channel - (step->lrn.size - 1) / 2);
  int64_t end = catena_minimum(step->channels, channel - (step->lrn.size - 1) / 2 + step->lrn.size);
  float sum = 0;
  for (int64_t c = first; c < end; c++) sum += pixel[c] * pixel[c];
  return step->lrn.bias + step->lrn.alpha / (float)step->lrn.size * sum;
}

static void lrn_share(void *arguments) {
  const lrn_step *step = arguments;
  catena_range share = catena_share(step->pixels);
  for (int64_t pixel = share.begin; pixel < share.end; pixel++) {
    const float *x = step->source + pixel * step->channels;
    for (int64_t c = 0; c < step->channels; c++) {
      step->destination[pixel * step->channels + c] = x[c] * powf(base_of(step, x, c), -step->lrn.beta);
    }
  }
}

static void lrn_gradient_share(void *arguments) {
  const lrn_step *step = arguments;
  catena_range share = catena_share(step->pixels);
  int64_t back = (step->lrn.size - 1) / 2, forward = step->lrn.size - 1 - back;
  float factor = 2 * step->lrn.alpha * step->lrn.beta / (float)step->lrn.size;
  for (int64_t pixel = share.begin; pixel < share.end; pixel++) {
    int64_t offset = pixel * step->channels;
    const float *x = step->source + offset, *g = step->gradient + offset, *y = step->output + offset;
    for (int64_t c = 0; c < step->channels; c++) {
      // The channels whose window holds this one.
      int64_t first = catena_maximum(0, c - forward), last = catena_minimum(step->channels - 1, c + back);
      float sum = 0;
      for (int64_t reader = first; reader <= last; reader++) sum += g[reader] * y[reader] / base_of(step, x, reader);
      step->destination[offset + c] = g[c] * powf(base_of(step, x, c), -step->lrn.beta) - factor * x[c] * sum;
    }
  }
}

static catena_status run_lrn(const void *arguments) {
  const lrn_step *step = arguments;
  catena_parallel(step->gradient == NULL ? lrn_share : lrn_gradient_share, step, step->pixels * step->channels);
  return catena_success;
}

void catena_add_lrn(
  catena_program *program, const catena_lrn *lrn, const float *source, float *destination, int64_t pixels,
  int64_t channels
) {
  lrn_step *step = catena_add_step(program, run_lrn, sizeof(lrn_step), NULL);
  *step = (lrn_step){
    .lrn = *lrn, .source = source, .destination = destination, .pixels = pixels, .channels = channels};
}

void catena_add_lrn_gradient(
  catena_program *program, const catena_lrn *lrn, const float *gradient, const float *source, const float *output,
  float *destination, int64_t pixels, int64_t channels
) {
  lrn_step *step = catena_add_step(program, run_lrn, sizeof(lrn_step), NULL);
  *step = (lrn_step){*lrn, gradient, source, output, destination, pixels, channels};
}

// MARK: Instances

typedef struct {
  const float *source, *scale, *bias;
  float *destination;
  int64_t batch, pixels, channels;
  float epsilon;
} instance_step;

static void normalize_channel(const instance_step *step, int64_t sample, int64_t channel) {
  int64_t origin = sample * step->pixels * step->channels + channel;
  const float *x = step->source + origin;
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < step->pixels; i++) sum += x[i * step->channels];
  double mean = sum / (double)step->pixels;
  for (int64_t i = 0; i < step->pixels; i++) {
    double difference = x[i * step->channels] - mean;
    squares += difference * difference;
  }
  double factor = step->scale[channel] / sqrt(squares / (double)step->pixels + (double)step->epsilon);
  for (int64_t i = 0; i < step->pixels; i++) {
    step->destination[origin + i * step->channels] =
      (float)((x[i * step->channels] - mean) * factor + (double)step->bias[channel]);
  }
}

static void instance_share(void *arguments) {
  const instance_step *step = arguments;
  catena_range share = catena_share(step->batch * step->channels);
  for (int64_t unit = share.begin; unit < share.end; unit++) {
    normalize_channel(step, unit / step->channels, unit % step->channels);
  }
}

static catena_status run_instance_normalization(const void *arguments) {
  const instance_step *step = arguments;
  catena_parallel(instance_share, step, step->batch * step->pixels * step->channels);
  return catena_success;
}

void catena_add_instance_normalization(
  catena_program *program, const float *source, const float *scale, const float *bias, float *destination,
  int64_t batch, int64_t pixels, int64_t channels, float epsilon
) {
  instance_step *step = catena_add_step(program, run_instance_normalization, sizeof(instance_step), NULL);
  *step = (instance_step){source, scale, bias, destination, batch, pixels, channels, epsilon};
}

// MARK: Adam

typedef struct {
  catena_adam adam;
  int64_t count;
  const float *parameter, *gradient, *first, *second, *step, *mask;
  float *new_parameter, *new_first, *new_second, *new_step;
} adam_step;

typedef struct {
  const adam_step *step;
  float rate, root_correction;
} adam_share_arguments;

CATENA_VECTORISED
static void adam_share(void *arguments) {
  const adam_share_arguments *share_arguments = arguments;
  const adam_step *step = share_arguments->step;
  const catena_adam adam = step->adam;
  float rate = share_arguments->rate, root_correction = share_arguments->root_correction;
  catena_range share = catena_share(step->count);
  for (int64_t i = share.begin; i < share.end; i++) {
    float g = step->gradient[i], p = step->parameter[i], m = step->first[i], v = step->second[i];
    float new_m = adam.beta1 * m + (1.0f - adam.beta1) * g;
    float new_v = adam.beta2 * v + (1.0f - adam.beta2) * g * g;
    float new_p = p - rate * new_m / (sqrtf(new_v) * root_correction + adam.epsilon);
    bool moves = step->mask[i] != 0;
    step->new_parameter[i] = moves ? new_p : p;
    step->new_first[i] = moves ? new_m : m;
    step->new_second[i] = moves ? new_v : v;
  }
}

static catena_status run_adam(const void *arguments) {
  const adam_step *step = arguments;
  double count = (double)step->step[0] + 1;
  adam_share_arguments share = {
    step, (float)(step->adam.learning_rate / (1 - pow(step->adam.beta1, count))),
    (float)(1 / sqrt(1 - pow(step->adam.beta2, count)))};
  catena_parallel(adam_share, &share, step->count);
  step->new_step[0] = (float)count;
  return catena_success;
}

void catena_add_adam(
  catena_program *program, const catena_adam *adam, int64_t count, const float *parameter, const float *gradient,
  const float *first, const float *second, const float *step, const float *mask, float *new_parameter,
  float *new_first, float *new_second, float *new_step
) {
  adam_step *arguments = catena_add_step(program, run_adam, sizeof(adam_step), NULL);
  *arguments = (adam_step){*adam, count, parameter, gradient, first, second, step, mask, new_parameter, new_first,
    new_second, new_step};
}
