#include "CKernelSources.h"

// One accessor per file of Kernels/. The compiler lists embedded files among its dependencies, so an edited kernel is
// embedded again by the next build.

static const char common_lanes[] = {
#embed "../../Kernels/common/lanes.cl" suffix(, 0)
};
const char *catena_kernel_common_lanes(void) { return common_lanes; }

static const char common_functions[] = {
#embed "../../Kernels/common/functions.cl" suffix(, 0)
};
const char *catena_kernel_common_functions(void) { return common_functions; }

static const char common_epilogue[] = {
#embed "../../Kernels/common/epilogue.cl" suffix(, 0)
};
const char *catena_kernel_common_epilogue(void) { return common_epilogue; }

static const char common_indexing[] = {
#embed "../../Kernels/common/indexing.cl" suffix(, 0)
};
const char *catena_kernel_common_indexing(void) { return common_indexing; }

static const char conv_convolution[] = {
#embed "../../Kernels/conv/convolution.cl" suffix(, 0)
};
const char *catena_kernel_conv_convolution(void) { return conv_convolution; }

static const char gemm_gemm[] = {
#embed "../../Kernels/gemm/gemm.cl" suffix(, 0)
};
const char *catena_kernel_gemm_gemm(void) { return gemm_gemm; }

static const char gate_gate[] = {
#embed "../../Kernels/gate/gate.cl" suffix(, 0)
};
const char *catena_kernel_gate_gate(void) { return gate_gate; }

static const char pool_pool[] = {
#embed "../../Kernels/pool/pool.cl" suffix(, 0)
};
const char *catena_kernel_pool_pool(void) { return pool_pool; }

static const char normalize_normalize[] = {
#embed "../../Kernels/normalize/normalize.cl" suffix(, 0)
};
const char *catena_kernel_normalize_normalize(void) { return normalize_normalize; }

static const char softmax_reduce[] = {
#embed "../../Kernels/softmax/reduce.cl" suffix(, 0)
};
const char *catena_kernel_softmax_reduce(void) { return softmax_reduce; }

static const char softmax_softmax[] = {
#embed "../../Kernels/softmax/softmax.cl" suffix(, 0)
};
const char *catena_kernel_softmax_softmax(void) { return softmax_softmax; }

static const char elementwise_elementwise[] = {
#embed "../../Kernels/elementwise/elementwise.cl" suffix(, 0)
};
const char *catena_kernel_elementwise_elementwise(void) { return elementwise_elementwise; }

static const char elementwise_movement[] = {
#embed "../../Kernels/elementwise/movement.cl" suffix(, 0)
};
const char *catena_kernel_elementwise_movement(void) { return elementwise_movement; }

static const char optimizer_adam[] = {
#embed "../../Kernels/optimizer/adam.cl" suffix(, 0)
};
const char *catena_kernel_optimizer_adam(void) { return optimizer_adam; }

static const char common_types[] = {
#embed "../../Kernels/common/types.cl" suffix(, 0)
};
const char *catena_kernel_common_types(void) { return common_types; }

static const char elementwise_typed[] = {
#embed "../../Kernels/elementwise/typed.cl" suffix(, 0)
};
const char *catena_kernel_elementwise_typed(void) { return elementwise_typed; }

static const char softmax_typed_reduce[] = {
#embed "../../Kernels/softmax/typed_reduce.cl" suffix(, 0)
};
const char *catena_kernel_softmax_typed_reduce(void) { return softmax_typed_reduce; }

static const char gemm_integer_product[] = {
#embed "../../Kernels/gemm/integer_product.cl" suffix(, 0)
};
const char *catena_kernel_gemm_integer_product(void) { return gemm_integer_product; }

static const char common_tile[] = {
#embed "../../Kernels/common/tile.cl" suffix(, 0)
};
const char *catena_kernel_common_tile(void) { return common_tile; }

static const char gemm_gemm_tiled[] = {
#embed "../../Kernels/gemm/gemm_tiled.cl" suffix(, 0)
};
const char *catena_kernel_gemm_gemm_tiled(void) { return gemm_gemm_tiled; }

static const char conv_convolution_tiled[] = {
#embed "../../Kernels/conv/convolution_tiled.cl" suffix(, 0)
};
const char *catena_kernel_conv_convolution_tiled(void) { return conv_convolution_tiled; }

static const char tensor_fragments[] = {
#embed "../../Kernels/tensor/fragments.cl" suffix(, 0)
};
const char *catena_kernel_tensor_fragments(void) { return tensor_fragments; }

static const char tensor_convolution[] = {
#embed "../../Kernels/tensor/convolution.cl" suffix(, 0)
};
const char *catena_kernel_tensor_convolution(void) { return tensor_convolution; }

static const char features_features[] = {
#embed "../../Kernels/features/features.cl" suffix(, 0)
};
const char *catena_kernel_features_features(void) { return features_features; }

static const char solver_hessian[] = {
#embed "../../Kernels/solver/hessian.cl" suffix(, 0)
};
const char *catena_kernel_solver_hessian(void) { return solver_hessian; }

static const char solver_factor[] = {
#embed "../../Kernels/solver/factor.cl" suffix(, 0)
};
const char *catena_kernel_solver_factor(void) { return solver_factor; }

static const char solver_sweep[] = {
#embed "../../Kernels/solver/sweep.cl" suffix(, 0)
};
const char *catena_kernel_solver_sweep(void) { return solver_sweep; }

static const char solver_eliminate[] = {
#embed "../../Kernels/solver/eliminate.cl" suffix(, 0)
};
const char *catena_kernel_solver_eliminate(void) { return solver_eliminate; }
