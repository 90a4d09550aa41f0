// Catena's processor kernels: oneDNN behind an interface of our own (dnnl2.c is the only file that knows its version),
// vectorised kernels for the rest, and the step list that a compiled graph becomes.
//
// Extents and strides count elements. Functions that can fail return a catena_status whose `call` is NULL on success.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// MARK: Status

typedef struct {
  int32_t code;
  // The library call that failed, NULL when none did.
  const char *call;
} catena_status;

// The name of a failed call's code.
const char *catena_status_name(int32_t code);

// MARK: Machine

// The instruction set that the primitives are generated for.
const char *catena_instruction_set(void);
// Processors in the affinity mask of the calling thread, 0 when it cannot be read.
int32_t catena_allowed_processors(void);
// Threads that parallel sections begun by the calling thread use; other threads keep theirs.
void catena_set_threads(int32_t count);

// Every thread of the calling thread's team multiplies and adds numbers in registers, in many independent sums or fewer.
// Returns the fused multiply-adds of one thread.
int64_t catena_multiply_adds(int64_t rounds, bool is_wide);
// Every thread copies its share of `bytes` bytes, `times` times.
void catena_copy_block(void *to, const void *from, int64_t bytes, int64_t times);

// MARK: Program

enum { CATENA_MAX_RANK = 12, CATENA_MAX_SPATIAL = 3 };

typedef enum {
  CATENA_F32, CATENA_F16, CATENA_BF16, CATENA_BOOL,
  CATENA_U8, CATENA_I8, CATENA_U16, CATENA_I16, CATENA_U32, CATENA_I32, CATENA_I64, CATENA_F64,
} catena_type;

// A list of steps, each a function with its arguments.
typedef struct catena_program catena_program;

catena_program *catena_program_create(void);
void catena_program_destroy(catena_program *program);
size_t catena_program_step_count(const catena_program *program);
// Runs every step. When `seconds` is not NULL, it receives the time of each step.
catena_status catena_program_run(const catena_program *program, double *seconds);

// MARK: Blocks of samples

// What a block reads from memory outside it, or writes there.
typedef struct {
  bool is_output;
  // Block i's place is `data` + i / blocks_per_part * stride_bytes.
  void *data;
  int64_t blocks_per_part;
  int64_t stride_bytes;
  size_t bytes;
  // For outputs that are added up over every `blocks_per_sum` consecutive blocks: where the sums go, dense f32; `data`
  // then holds those of every block. Otherwise NULL.
  float *sums;
  int64_t blocks_per_sum;
} catena_crossing;

typedef struct {
  int64_t blocks;
  // Threads that run blocks of their own; 1 lets all threads share every block.
  int32_t lanes;
  int32_t crossing_count;
} catena_block_section;

typedef struct catena_blocks catena_blocks;

// Adds a step that runs a body once per block. There is one body per lane, alike but for their memory, which the
// program owns from now on; `locals` has, per lane, one address in that memory for every crossing.
catena_blocks *catena_add_blocks(
  catena_program *program, const catena_block_section *section, catena_program *const *bodies,
  const catena_crossing *crossings, void *const *locals);
// Lets following runs write the seconds of each of a body's steps, over all blocks and divided by the lanes; NULL ends
// it.
void catena_time_blocks(catena_blocks *blocks, double *seconds);

// MARK: oneDNN primitives

typedef struct catena_engine catena_engine;
typedef struct catena_primitive catena_primitive;

catena_status catena_engine_create(catena_engine **engine);
void catena_engine_destroy(catena_engine *engine);

typedef enum {
  // y = f(y), by `function`, alpha, beta
  CATENA_POST_ELTWISE,
  // y += what the destination held
  CATENA_POST_SUM,
  // y *= operand[c]
  CATENA_POST_MULTIPLY_CHANNEL,
  // y += operand, of the destination's shape and layout
  CATENA_POST_ADD_TENSOR,
} catena_post_kind;

typedef enum {
  CATENA_ELTWISE_RELU, CATENA_ELTWISE_CLIP, CATENA_ELTWISE_ELU, CATENA_ELTWISE_LOGISTIC, CATENA_ELTWISE_TANH,
} catena_eltwise;

typedef struct {
  catena_post_kind kind;
  catena_eltwise function;
  float alpha;
  float beta;
} catena_post_operation;

typedef struct {
  // Whether this is the gradient of the source; source and destination keep their roles of the forward convolution.
  bool is_backward_data;
  int32_t spatial_rank;
  int64_t batch, source_channels, destination_channels, groups;
  int64_t source[CATENA_MAX_SPATIAL], destination[CATENA_MAX_SPATIAL], kernel[CATENA_MAX_SPATIAL];
  int64_t strides[CATENA_MAX_SPATIAL], dilations[CATENA_MAX_SPATIAL];
  int64_t pads_begin[CATENA_MAX_SPATIAL], pads_end[CATENA_MAX_SPATIAL];
  bool has_bias;
  // Whether the weights come row-major at run time instead of being packed once.
  bool has_plain_weights;
  // Whether the images that are read (and then the packed weights), and those that are written, are bf16 instead of f32.
  bool reads_bfloat16, writes_bfloat16;
} catena_convolution;

// A convolution on channels-last images, weights in whatever order it likes best.
catena_status catena_convolution_create(
  catena_engine *engine, const catena_convolution *problem, const catena_post_operation *post_operations,
  int32_t post_operation_count, catena_primitive **primitive);

// A batched matrix product; strides give the layouts (0 strides of the weights: as the primitive likes, packed).
catena_status catena_matmul_create(
  catena_engine *engine, int32_t rank, const int64_t *source, const int64_t *source_strides, const int64_t *weights,
  const int64_t *weight_strides, const int64_t *destination, const int64_t *destination_strides, bool has_bias,
  const int64_t *bias, const catena_post_operation *post_operations, int32_t post_operation_count,
  catena_primitive **primitive);

void catena_primitive_destroy(catena_primitive *primitive);
const char *catena_primitive_implementation(const catena_primitive *primitive);
size_t catena_primitive_weight_bytes(const catena_primitive *primitive);
size_t catena_primitive_scratch_bytes(const catena_primitive *primitive);
// Brings weights in row-major order into the primitive's.
catena_status catena_primitive_pack(const catena_primitive *primitive, const float *weights, void *packed);

// `operands` has one entry per post-operation, NULL where it takes none. The primitive outlives the program.
catena_status catena_add_primitive(
  catena_program *program, const catena_primitive *primitive, const void *source, const void *weights,
  const float *bias, void *destination, const void *const *operands, void *scratch);

// Whether this build's kernels that keep results in vectors are faster than generated ones: an optimised build's are.
bool catena_panels_are_fast(void);

// MARK: Winograd convolution

enum { CATENA_MAX_POST_OPERATIONS = 8 };

// A convolution with 3 x 3 taps, stride 1 and no dilation on channels-last images.
typedef struct {
  int64_t batch, source_channels, destination_channels;
  int64_t source_height, source_width, destination_height, destination_width;
  int64_t pad_top, pad_left;
  // Whether the images that are read, and those that are written with what is added to them, are bf16 instead of f32.
  bool reads_bfloat16, writes_bfloat16;
} catena_winograd;

// Cycles that a sample takes, for comparing kernels: one for every vector of products.
double catena_winograd_cycles(const catena_winograd *problem);
size_t catena_winograd_weight_bytes(const catena_winograd *problem);
size_t catena_winograd_scratch_bytes(const catena_winograd *problem, int32_t threads);
// Brings weights in row-major order (destination channels, source channels, 3, 3) into the form that is multiplied.
void catena_winograd_pack(const catena_winograd *problem, const float *weights, float *packed);
// Post-operations: ReLU and clip among the functions, and all other kinds; `operands` as for primitives.
void catena_add_winograd(
  catena_program *program, const catena_winograd *problem, const void *source, const float *packed, const float *bias,
  void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch);

// MARK: Convolutions as products of matrices

// A convolution of two spatial axes, or its input gradient, whose source and destination are then those of the
// gradient: what is read and what is written. A matrix product is a 1 x 1 convolution of images of one pixel.
typedef struct {
  bool is_backward_data;
  int64_t batch, source_channels, destination_channels;
  int64_t source_height, source_width, destination_height, destination_width;
  int64_t kernel_height, kernel_width;
  int64_t row_stride, column_stride, row_dilation, column_dilation, pad_top, pad_left;
  // The source, and weights rounded to it, in bf16; the destination in bf16. For `direct` alone.
  bool reads_bfloat16, writes_bfloat16;
} catena_implicit_gemm;

// Whether taps and strides are within what the kernel's plan holds.
bool catena_implicit_gemm_is_possible(const catena_implicit_gemm *problem);
size_t catena_implicit_gemm_weight_bytes(const catena_implicit_gemm *problem);
size_t catena_implicit_gemm_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads);
// Brings weights in row-major order (destination channels, source channels, kernel height, kernel width) into the form
// that is multiplied.
void catena_implicit_gemm_pack(const catena_implicit_gemm *problem, const float *weights, float *packed);
// Post-operations as for Winograd's kernel.
void catena_add_implicit_gemm(
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch);

// The same convolutions, lines of the source copied instead of gathered pixel by pixel: for little depth, and for few
// destination channels. In bf16 where the processor multiplies pairs of it.
// Cycles that a sample takes, for comparing kernels; infinity where gathered matrices are better.
double catena_direct_cycles(const catena_implicit_gemm *problem);
size_t catena_direct_weight_bytes(const catena_implicit_gemm *problem);
size_t catena_direct_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads);
void catena_direct_pack(const catena_implicit_gemm *problem, const float *weights, float *packed);
void catena_add_direct(
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch);

// The same convolutions, vectors along pixels instead of channels: where the destination's channels are few, or no
// multiple of a vector.
// Cycles that a sample takes, for comparing kernels; infinity where gathered matrices are better.
double catena_planes_cycles(const catena_implicit_gemm *problem);
size_t catena_planes_weight_bytes(const catena_implicit_gemm *problem);
size_t catena_planes_scratch_bytes(const catena_implicit_gemm *problem, int32_t threads);
void catena_planes_pack(const catena_implicit_gemm *problem, const float *weights, float *packed);
void catena_add_planes(
  catena_program *program, const catena_implicit_gemm *problem, const void *source, const float *packed,
  const float *bias, void *destination, const catena_post_operation *post_operations, int32_t post_operation_count,
  const void *const *operands, int32_t threads, void *scratch);

// MARK: Element by element

typedef enum {
  // One operand
  CATENA_COPY, CATENA_RELU, CATENA_LEAKY_RELU, CATENA_ELU, CATENA_SELU, CATENA_SIGMOID, CATENA_HARD_SIGMOID,
  CATENA_HARD_SWISH, CATENA_TANH, CATENA_SOFTPLUS, CATENA_ERF, CATENA_GELU, CATENA_GELU_TANH, CATENA_CLIP,
  CATENA_SQUARE_ROOT, CATENA_EXPONENTIAL, CATENA_LOGARITHM, CATENA_NEGATE, CATENA_ABSOLUTE, CATENA_RECIPROCAL,
  CATENA_FLOOR, CATENA_CEILING, CATENA_SIGN, CATENA_NOT,
  // y = a * x + b
  CATENA_AFFINE,
  // Rounds to a storage type, parameter `type`
  CATENA_ROUND,
  // gradient (left) * f'(right)
  CATENA_RELU_GRADIENT, CATENA_LEAKY_RELU_GRADIENT, CATENA_ELU_GRADIENT, CATENA_SELU_GRADIENT,
  CATENA_SIGMOID_GRADIENT, CATENA_HARD_SIGMOID_GRADIENT, CATENA_HARD_SWISH_GRADIENT, CATENA_TANH_GRADIENT,
  CATENA_SOFTPLUS_GRADIENT, CATENA_ERF_GRADIENT, CATENA_GELU_GRADIENT, CATENA_GELU_TANH_GRADIENT,
  CATENA_CLIP_GRADIENT, CATENA_SQUARE_ROOT_GRADIENT, CATENA_EXPONENTIAL_GRADIENT, CATENA_LOGARITHM_GRADIENT,
  CATENA_NEGATE_GRADIENT, CATENA_ABSOLUTE_GRADIENT, CATENA_RECIPROCAL_GRADIENT, CATENA_ZERO_GRADIENT,
  // right == 0 ? 0 : left
  CATENA_NONZERO_GRADIENT,
  // Two operands
  CATENA_ADD, CATENA_SUBTRACT, CATENA_MULTIPLY, CATENA_DIVIDE, CATENA_POWER, CATENA_MINIMUM, CATENA_MAXIMUM,
  CATENA_PRELU, CATENA_MODULO, CATENA_EQUAL, CATENA_LESS, CATENA_LESS_OR_EQUAL, CATENA_GREATER,
  CATENA_GREATER_OR_EQUAL, CATENA_AND, CATENA_OR, CATENA_XOR,
  // right == 0 ? 0 : left / right
  CATENA_DIVIDE_OR_ZERO,
  // ReLU of a sum; what a sum and a ReLU behind it become.
  CATENA_ADD_RELU,
  // Three operands
  CATENA_SELECT,
  // left * right + third
  CATENA_MULTIPLY_ADD,
} catena_operation;

typedef enum { CATENA_READ, CATENA_WRITE, CATENA_SUM } catena_role;

// Some channels of many, in ascending order: how an operand's innermost axis is read that has others than what is walked.
typedef struct {
  const int32_t *channels;
  int64_t count;
  // Whether memory has these channels alone and the others are zero; else memory has all, and these alone are walked.
  bool is_placed;
} catena_channel_map;

typedef struct {
  void *data;
  catena_type type;
  // CATENA_SUM adds up over axes of stride 0, from nothing; f32 only.
  catena_role role;
  // Factor of a sum.
  float scale;
} catena_operand;

// Slots 0 ..< operand count are the operands, the rest are registers.
typedef struct {
  catena_operation operation;
  int32_t destination, left, right, third;
  float a, b;
} catena_instruction;

enum { CATENA_MAX_OPERANDS = 24, CATENA_MAX_REGISTERS = 12 };

// One pass over memory: for every element the instructions, in order, on operands of the given strides (one row of
// `rank` strides per operand). Lanes are i64 when `is_integer`, else f32. `scratch` holds `catena_elementwise_scratch`
// bytes. `maps` is NULL or has one for every operand, without channels where memory has those that are walked; an operand
// with channels is read, f32 or bf16, its innermost axis has stride 0, and lanes are f32. The arrays are copied.
catena_status catena_add_elementwise(
  catena_program *program, int32_t rank, const int64_t *extents, int32_t operand_count,
  const catena_operand *operands, const int64_t *strides, const catena_channel_map *maps, int32_t instruction_count,
  const catena_instruction *instructions, bool is_integer, int32_t threads, void *scratch);
size_t catena_elementwise_scratch(
  int32_t rank, const int64_t *extents, int32_t operand_count, const catena_operand *operands, const int64_t *strides,
  int32_t threads);

// MARK: Moving data

// Copies elements of 1, 2, 4 or 8 bytes.
void catena_add_copy(
  catena_program *program, int32_t rank, const int64_t *extents, const void *source, const int64_t *source_strides,
  void *destination, const int64_t *destination_strides, int32_t element_bytes);
// The same, at once, by the calling thread or by its team.
void catena_copy(
  int32_t rank, const int64_t *extents, const void *source, const int64_t *source_strides, void *destination,
  const int64_t *destination_strides, int32_t element_bytes, bool by_team);
// Fills `count` elements with the pattern `value` points to.
void catena_add_fill(
  catena_program *program, void *destination, int64_t count, const void *value, int32_t element_bytes);
// destination[outer, i, inner] = data[outer, indices[i], inner]; all dense.
void catena_add_gather(
  catena_program *program, const void *data, const void *indices, catena_type index_type, void *destination,
  int64_t outer, int64_t extent, int64_t count, int64_t inner, int32_t element_bytes);
// destination[outer, indices[i], inner] += gradient[outer, i, inner] from zero; all dense f32.
void catena_add_scatter_add(
  catena_program *program, const float *gradient, const void *indices, catena_type index_type, float *destination,
  int64_t outer, int64_t extent, int64_t count, int64_t inner);
// destination[outer, i, inner] = sum over k in rows[i] ..< rows[i + 1] of weights[k] * source[outer, columns[k], inner];
// dense f32. The arrays are copied.
void catena_add_axis_map(
  catena_program *program, const float *source, float *destination, int64_t outer, int64_t source_extent,
  int64_t destination_extent, int64_t inner, const int32_t *rows, const int32_t *columns, const float *weights);

// destination[b] = source[b] x weights[b] for integers, wrapping: batch x rows x inner by batch x inner x columns, the
// batches walked by `source_batch` and `weight_batch`, one offset per product. The arrays are copied.
void catena_add_integer_matmul(
  catena_program *program, const int64_t *source, const int64_t *weights, int64_t *destination, int64_t batch,
  const int64_t *source_offsets, const int64_t *weight_offsets, int64_t rows, int64_t inner, int64_t columns);

// MARK: Along axes

typedef enum {
  CATENA_REDUCE_SUM, CATENA_REDUCE_MEAN, CATENA_REDUCE_MAXIMUM, CATENA_REDUCE_MINIMUM, CATENA_REDUCE_PRODUCT,
} catena_reduction;

// Reduces the last `reduced_rank` of `rank` axes; the destination is dense over the others. f32 or i64.
void catena_add_reduce(
  catena_program *program, catena_reduction kind, int32_t rank, int32_t reduced_rank, const int64_t *extents,
  const void *source, const int64_t *strides, void *destination, catena_type type);
// source[outer, extent, inner] to i64 destination[outer, inner]; f32 or i64, dense.
void catena_add_arg_reduce(
  catena_program *program, const void *source, int64_t *destination, int64_t outer, int64_t extent, int64_t inner,
  catena_type type, bool finds_maximum, bool selects_last);
// Over the inner axis of dense rows x columns.
void catena_add_softmax(
  catena_program *program, const float *source, float *destination, int64_t rows, int64_t columns, bool logarithm);

// MARK: Windows and normalisation, channels last

typedef enum { CATENA_POOL_MAXIMUM, CATENA_POOL_AVERAGE, CATENA_POOL_AVERAGE_PADDED, CATENA_POOL_NORM } catena_pool_kind;

typedef struct {
  catena_pool_kind kind;
  int32_t p;
  int64_t batch, channels;
  int64_t source[CATENA_MAX_SPATIAL], destination[CATENA_MAX_SPATIAL], kernel[CATENA_MAX_SPATIAL];
  int64_t strides[CATENA_MAX_SPATIAL], dilations[CATENA_MAX_SPATIAL];
  int64_t pads_begin[CATENA_MAX_SPATIAL], pads_end[CATENA_MAX_SPATIAL];
} catena_pool;

void catena_add_pool(catena_program *program, const catena_pool *pool, const float *source, float *destination);
void catena_add_pool_gradient(
  catena_program *program, const catena_pool *pool, const float *gradient, const float *source, const float *output,
  float *destination);

typedef struct {
  float alpha, beta, bias;
  int64_t size;
} catena_lrn;

// On pixels x channels.
void catena_add_lrn(
  catena_program *program, const catena_lrn *lrn, const float *source, float *destination, int64_t pixels,
  int64_t channels);
void catena_add_lrn_gradient(
  catena_program *program, const catena_lrn *lrn, const float *gradient, const float *source, const float *output,
  float *destination, int64_t pixels, int64_t channels);
// On batch x pixels x channels.
void catena_add_instance_normalization(
  catena_program *program, const float *source, const float *scale, const float *bias, float *destination,
  int64_t batch, int64_t pixels, int64_t channels, float epsilon);

// MARK: Optimisation

typedef struct {
  float learning_rate, beta1, beta2, epsilon;
} catena_adam;

// All dense f32; `mask` has one entry per element. Inputs and outputs may be the same memory.
void catena_add_adam(
  catena_program *program, const catena_adam *adam, int64_t count, const float *parameter, const float *gradient,
  const float *first, const float *second, const float *step, const float *mask, float *new_parameter,
  float *new_first, float *new_second, float *new_step);
