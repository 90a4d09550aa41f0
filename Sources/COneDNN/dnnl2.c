// The only file that knows which oneDNN this is: the C interface of 2.x with operation descriptors.
#include "program.h"

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_debug.h>

extern void omp_set_num_threads(int count);

enum { MAX_ARGUMENTS = 5 + CATENA_MAX_POST_OPERATIONS };

#define TRY(call_name, ...) \
  do { \
    dnnl_status_t try_code = call_name(__VA_ARGS__); \
    if (try_code != dnnl_success) { \
      status = (catena_status){try_code, #call_name}; \
      goto done; \
    } \
  } while (0)

const char *catena_status_name(int32_t code) { return dnnl_status2str((dnnl_status_t)code); }

void catena_set_threads(int32_t count) { omp_set_num_threads(count); }

const char *catena_instruction_set(void) {
  switch (dnnl_get_effective_cpu_isa()) {
  case dnnl_cpu_isa_sse41: return "sse4.1";
  case dnnl_cpu_isa_avx: return "avx";
  case dnnl_cpu_isa_avx2: return "avx2";
  case dnnl_cpu_isa_avx2_vnni: return "avx2-vnni";
  case dnnl_cpu_isa_avx512_core: return "avx512";
  case dnnl_cpu_isa_avx512_core_vnni: return "avx512-vnni";
  case dnnl_cpu_isa_avx512_core_bf16: return "avx512-bf16";
  case dnnl_cpu_isa_avx512_core_amx: return "avx512-amx";
  default: return "baseline";
  }
}

// MARK: Engine

struct catena_engine {
  dnnl_engine_t engine;
  dnnl_stream_t stream;
};

catena_status catena_engine_create(catena_engine **engine) {
  catena_status status = catena_success;
  catena_engine *result = calloc(1, sizeof(catena_engine));
  if (result == NULL) return (catena_status){dnnl_out_of_memory, "calloc"};
  TRY(dnnl_engine_create, &result->engine, dnnl_cpu, 0);
  TRY(dnnl_stream_create, &result->stream, result->engine, dnnl_stream_default_flags);
  *engine = result;
  return status;
done:
  catena_engine_destroy(result);
  return status;
}

void catena_engine_destroy(catena_engine *engine) {
  if (engine->stream != NULL) dnnl_stream_destroy(engine->stream);
  if (engine->engine != NULL) dnnl_engine_destroy(engine->engine);
  free(engine);
}

// MARK: Primitives

struct catena_primitive {
  catena_engine *engine;
  dnnl_primitive_desc_t description;
  dnnl_primitive_t primitive;
  dnnl_memory_desc_t source, weights, plain_weights, bias, destination;
  // Which arguments the primitive calls source and destination.
  int source_argument, destination_argument;
  bool has_bias;
  int32_t post_operation_count;
  dnnl_memory_desc_t operands[CATENA_MAX_POST_OPERATIONS];
  const char *implementation;
};

void catena_primitive_destroy(catena_primitive *primitive) {
  if (primitive->primitive != NULL) dnnl_primitive_destroy(primitive->primitive);
  if (primitive->description != NULL) dnnl_primitive_desc_destroy(primitive->description);
  free(primitive);
}

static dnnl_alg_kind_t eltwise_kind(catena_eltwise function) {
  switch (function) {
  case CATENA_ELTWISE_RELU: return dnnl_eltwise_relu;
  case CATENA_ELTWISE_CLIP: return dnnl_eltwise_clip;
  case CATENA_ELTWISE_ELU: return dnnl_eltwise_elu;
  case CATENA_ELTWISE_LOGISTIC: return dnnl_eltwise_logistic;
  case CATENA_ELTWISE_TANH: return dnnl_eltwise_tanh;
  }
  return dnnl_alg_kind_undef;
}

// Attributes with scratch memory from the caller and the post-operations, whose operands' descriptions are kept.
static catena_status make_attributes(
  catena_primitive *primitive, const catena_post_operation *operations, int32_t count, int32_t channel_axis,
  dnnl_primitive_attr_t *attributes
) {
  catena_status status = catena_success;
  dnnl_post_ops_t post = NULL;
  const dnnl_memory_desc_t *destination = &primitive->destination;
  if (count > CATENA_MAX_POST_OPERATIONS) return (catena_status){dnnl_invalid_arguments, "dnnl_post_ops_append"};
  TRY(dnnl_primitive_attr_create, attributes);
  TRY(dnnl_primitive_attr_set_scratchpad_mode, *attributes, dnnl_scratchpad_mode_user);
  TRY(dnnl_post_ops_create, &post);
  primitive->post_operation_count = count;
  for (int32_t i = 0; i < count; i++) {
    const catena_post_operation *operation = &operations[i];
    switch (operation->kind) {
    case CATENA_POST_ELTWISE:
      TRY(dnnl_post_ops_append_eltwise, post, 1.0f, eltwise_kind(operation->function), operation->alpha,
        operation->beta);
      break;
    case CATENA_POST_SUM: TRY(dnnl_post_ops_append_sum, post, 1.0f); break;
    case CATENA_POST_MULTIPLY_CHANNEL: {
      dnnl_dims_t extents, strides;
      for (int axis = 0; axis < destination->ndims; axis++) {
        extents[axis] = axis == channel_axis ? destination->dims[axis] : 1;
        strides[axis] = axis < channel_axis ? destination->dims[channel_axis] : 1;
      }
      TRY(dnnl_memory_desc_init_by_strides, &primitive->operands[i], destination->ndims, extents, dnnl_f32, strides);
      TRY(dnnl_post_ops_append_binary, post, dnnl_binary_mul, &primitive->operands[i]);
      break;
    }
    case CATENA_POST_ADD_TENSOR:
      primitive->operands[i] = *destination;
      TRY(dnnl_post_ops_append_binary, post, dnnl_binary_add, &primitive->operands[i]);
      break;
    }
  }
  TRY(dnnl_primitive_attr_set_post_ops, *attributes, post);
done:
  if (post != NULL) dnnl_post_ops_destroy(post);
  return status;
}

// Makes the primitive of an operation descriptor.
static catena_status finish(catena_primitive *primitive, const void *operation, dnnl_primitive_attr_t attributes) {
  catena_status status = catena_success;
  TRY(dnnl_primitive_desc_create, &primitive->description, operation, attributes, primitive->engine->engine, NULL);
  TRY(dnnl_primitive_create, &primitive->primitive, primitive->description);
  TRY(dnnl_primitive_desc_query, primitive->description, dnnl_query_impl_info_str, 0, &primitive->implementation);
  primitive->weights = *dnnl_primitive_desc_query_md(primitive->description, dnnl_query_weights_md, 0);
done:
  return status;
}

static dnnl_format_tag_t channels_last(int32_t spatial_rank) {
  return spatial_rank == 1 ? dnnl_nwc : spatial_rank == 2 ? dnnl_nhwc : dnnl_ndhwc;
}

static catena_status describe_convolution(catena_primitive *primitive, const catena_convolution *problem) {
  catena_status status = catena_success;
  int32_t rank = problem->spatial_rank;
  int64_t groups = problem->groups;
  dnnl_dims_t source = {problem->batch, problem->source_channels};
  dnnl_dims_t destination = {problem->batch, problem->destination_channels};
  dnnl_dims_t weights;
  int32_t weight_rank = 0;
  if (groups > 1) weights[weight_rank++] = groups;
  weights[weight_rank++] = problem->destination_channels / groups;
  weights[weight_rank++] = problem->source_channels / groups;
  for (int32_t axis = 0; axis < rank; axis++) {
    source[axis + 2] = problem->source[axis];
    destination[axis + 2] = problem->destination[axis];
    weights[weight_rank++] = problem->kernel[axis];
  }
  dnnl_data_type_t read = problem->reads_bfloat16 ? dnnl_bf16 : dnnl_f32;
  dnnl_data_type_t written = problem->writes_bfloat16 ? dnnl_bf16 : dnnl_f32;
  dnnl_data_type_t source_type = problem->is_backward_data ? written : read;
  dnnl_data_type_t destination_type = problem->is_backward_data ? read : written;
  dnnl_dims_t strides;
  strides[weight_rank - 1] = 1;
  for (int32_t axis = weight_rank - 2; axis >= 0; axis--) strides[axis] = strides[axis + 1] * weights[axis + 1];
  TRY(dnnl_memory_desc_init_by_tag, &primitive->source, rank + 2, source, source_type, channels_last(rank));
  TRY(dnnl_memory_desc_init_by_tag, &primitive->destination, rank + 2, destination, destination_type,
    channels_last(rank));
  TRY(dnnl_memory_desc_init_by_strides, &primitive->plain_weights, weight_rank, weights, dnnl_f32, strides);
  if (problem->has_plain_weights) {
    primitive->weights = primitive->plain_weights;
  } else {
    TRY(dnnl_memory_desc_init_by_tag, &primitive->weights, weight_rank, weights, read, dnnl_format_tag_any);
  }
  dnnl_dims_t channels = {problem->destination_channels};
  TRY(dnnl_memory_desc_init_by_tag, &primitive->bias, 1, channels, dnnl_f32, dnnl_a);
done:
  return status;
}

catena_status catena_convolution_create(
  catena_engine *engine, const catena_convolution *problem, const catena_post_operation *post_operations,
  int32_t post_operation_count, catena_primitive **primitive
) {
  catena_status status = catena_success;
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_convolution_desc_t operation;
  catena_primitive *result = calloc(1, sizeof(catena_primitive));
  if (result == NULL) return (catena_status){dnnl_out_of_memory, "calloc"};
  result->engine = engine;
  result->has_bias = problem->has_bias;
  status = describe_convolution(result, problem);
  if (status.call != NULL) goto done;
  dnnl_dims_t strides = {0}, dilations = {0}, pads_begin = {0}, pads_end = {0};
  for (int32_t axis = 0; axis < problem->spatial_rank; axis++) {
    strides[axis] = problem->strides[axis];
    dilations[axis] = problem->dilations[axis] - 1;
    pads_begin[axis] = problem->pads_begin[axis];
    pads_end[axis] = problem->pads_end[axis];
  }
  if (problem->is_backward_data) {
    result->source_argument = DNNL_ARG_DIFF_DST;
    result->destination_argument = DNNL_ARG_DIFF_SRC;
    TRY(dnnl_dilated_convolution_backward_data_desc_init, &operation, dnnl_convolution_direct, &result->source,
      &result->weights, &result->destination, strides, dilations, pads_begin, pads_end);
    // From here on "source" is what is read.
    dnnl_memory_desc_t swapped = result->source;
    result->source = result->destination;
    result->destination = swapped;
  } else {
    result->source_argument = DNNL_ARG_SRC;
    result->destination_argument = DNNL_ARG_DST;
    TRY(dnnl_dilated_convolution_forward_desc_init, &operation, dnnl_forward_inference, dnnl_convolution_direct,
      &result->source, &result->weights, problem->has_bias ? &result->bias : NULL, &result->destination,
      strides, dilations, pads_begin, pads_end);
  }
  status = make_attributes(result, post_operations, post_operation_count, 1, &attributes);
  if (status.call != NULL) goto done;
  status = finish(result, &operation, attributes);
done:
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  if (status.call != NULL) {
    catena_primitive_destroy(result);
  } else {
    *primitive = result;
  }
  return status;
}

catena_status catena_matmul_create(
  catena_engine *engine, int32_t rank, const int64_t *source, const int64_t *source_strides, const int64_t *weights,
  const int64_t *weight_strides, const int64_t *destination, const int64_t *destination_strides, bool has_bias,
  const int64_t *bias, const catena_post_operation *post_operations, int32_t post_operation_count,
  catena_primitive **primitive
) {
  catena_status status = catena_success;
  dnnl_primitive_attr_t attributes = NULL;
  dnnl_matmul_desc_t operation;
  catena_primitive *result = calloc(1, sizeof(catena_primitive));
  if (result == NULL) return (catena_status){dnnl_out_of_memory, "calloc"};
  result->engine = engine;
  result->has_bias = has_bias;
  result->source_argument = DNNL_ARG_SRC;
  result->destination_argument = DNNL_ARG_DST;
  dnnl_dims_t plain;
  plain[rank - 1] = 1;
  for (int32_t axis = rank - 2; axis >= 0; axis--) plain[axis] = plain[axis + 1] * weights[axis + 1];
  TRY(dnnl_memory_desc_init_by_strides, &result->plain_weights, rank, weights, dnnl_f32, plain);
  TRY(dnnl_memory_desc_init_by_strides, &result->source, rank, source, dnnl_f32, source_strides);
  TRY(dnnl_memory_desc_init_by_strides, &result->destination, rank, destination, dnnl_f32, destination_strides);
  if (weight_strides == NULL) {
    TRY(dnnl_memory_desc_init_by_tag, &result->weights, rank, weights, dnnl_f32, dnnl_format_tag_any);
  } else {
    TRY(dnnl_memory_desc_init_by_strides, &result->weights, rank, weights, dnnl_f32, weight_strides);
  }
  if (has_bias) {
    dnnl_dims_t dense;
    dense[rank - 1] = 1;
    for (int32_t axis = rank - 2; axis >= 0; axis--) dense[axis] = dense[axis + 1] * bias[axis + 1];
    TRY(dnnl_memory_desc_init_by_strides, &result->bias, rank, bias, dnnl_f32, dense);
  }
  TRY(dnnl_matmul_desc_init, &operation, &result->source, &result->weights, has_bias ? &result->bias : NULL,
    &result->destination);
  status = make_attributes(result, post_operations, post_operation_count, rank - 1, &attributes);
  if (status.call != NULL) goto done;
  status = finish(result, &operation, attributes);
done:
  if (attributes != NULL) dnnl_primitive_attr_destroy(attributes);
  if (status.call != NULL) {
    catena_primitive_destroy(result);
  } else {
    *primitive = result;
  }
  return status;
}

const char *catena_primitive_implementation(const catena_primitive *primitive) { return primitive->implementation; }

size_t catena_primitive_weight_bytes(const catena_primitive *primitive) {
  return dnnl_memory_desc_get_size(&primitive->weights);
}

size_t catena_primitive_scratch_bytes(const catena_primitive *primitive) {
  const dnnl_memory_desc_t *scratch =
    dnnl_primitive_desc_query_md(primitive->description, dnnl_query_scratchpad_md, 0);
  return scratch == NULL ? 0 : dnnl_memory_desc_get_size(scratch);
}

catena_status catena_primitive_pack(const catena_primitive *primitive, const float *weights, void *packed) {
  catena_status status = catena_success;
  dnnl_engine_t engine = primitive->engine->engine;
  dnnl_memory_t from = NULL, to = NULL;
  dnnl_primitive_desc_t description = NULL;
  dnnl_primitive_t reorder = NULL;
  TRY(dnnl_memory_create, &from, &primitive->plain_weights, engine, (void *)weights);
  TRY(dnnl_memory_create, &to, &primitive->weights, engine, packed);
  TRY(dnnl_reorder_primitive_desc_create, &description, &primitive->plain_weights, engine, &primitive->weights,
    engine, NULL);
  TRY(dnnl_primitive_create, &reorder, description);
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  TRY(dnnl_primitive_execute, reorder, primitive->engine->stream, 2, arguments);
  TRY(dnnl_stream_wait, primitive->engine->stream);
done:
  if (reorder != NULL) dnnl_primitive_destroy(reorder);
  if (description != NULL) dnnl_primitive_desc_destroy(description);
  if (from != NULL) dnnl_memory_destroy(from);
  if (to != NULL) dnnl_memory_destroy(to);
  return status;
}

// MARK: Step

typedef struct {
  const catena_primitive *primitive;
  int32_t count;
  dnnl_exec_arg_t arguments[MAX_ARGUMENTS];
} primitive_step;

static catena_status run_primitive(const void *arguments) {
  const primitive_step *step = arguments;
  dnnl_status_t code = dnnl_primitive_execute(
    step->primitive->primitive, step->primitive->engine->stream, step->count, step->arguments);
  return code == dnnl_success ? catena_success : (catena_status){code, "dnnl_primitive_execute"};
}

static void release_primitive(void *arguments) {
  primitive_step *step = arguments;
  for (int32_t i = 0; i < step->count; i++) dnnl_memory_destroy(step->arguments[i].memory);
}

static catena_status add_argument(
  primitive_step *step, int argument, const dnnl_memory_desc_t *description, const void *data
) {
  catena_status status = catena_success;
  dnnl_memory_t memory = NULL;
  TRY(dnnl_memory_create, &memory, description, step->primitive->engine->engine, (void *)data);
  step->arguments[step->count++] = (dnnl_exec_arg_t){argument, memory};
done:
  return status;
}

catena_status catena_add_primitive(
  catena_program *program, const catena_primitive *primitive, const void *source, const void *weights,
  const float *bias, void *destination, const void *const *operands, void *scratch
) {
  primitive_step *step = catena_add_step(program, run_primitive, sizeof(primitive_step), release_primitive);
  step->primitive = primitive;
  catena_status status = add_argument(step, primitive->source_argument, &primitive->source, source);
  if (status.call == NULL) status = add_argument(step, DNNL_ARG_WEIGHTS, &primitive->weights, weights);
  if (status.call == NULL) {
    status = add_argument(step, primitive->destination_argument, &primitive->destination, destination);
  }
  if (status.call == NULL && primitive->has_bias) status = add_argument(step, DNNL_ARG_BIAS, &primitive->bias, bias);
  for (int32_t i = 0; status.call == NULL && i < primitive->post_operation_count; i++) {
    if (operands[i] == NULL) continue;
    status = add_argument(
      step, DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1, &primitive->operands[i], operands[i]);
  }
  if (status.call == NULL && catena_primitive_scratch_bytes(primitive) > 0) {
    status = add_argument(step, DNNL_ARG_SCRATCHPAD,
      dnnl_primitive_desc_query_md(primitive->description, dnnl_query_scratchpad_md, 0), scratch);
  }
  return status;
}
