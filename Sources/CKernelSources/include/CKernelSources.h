#pragma once

/// The text of Kernels/common/lanes.cl.
const char *catena_kernel_common_lanes(void);

/// The text of Kernels/common/functions.cl.
const char *catena_kernel_common_functions(void);

/// The text of Kernels/common/epilogue.cl.
const char *catena_kernel_common_epilogue(void);

/// The text of Kernels/common/indexing.cl.
const char *catena_kernel_common_indexing(void);

/// The text of Kernels/conv/convolution.cl.
const char *catena_kernel_conv_convolution(void);

/// The text of Kernels/gemm/gemm.cl.
const char *catena_kernel_gemm_gemm(void);

/// The text of Kernels/gate/gate.cl.
const char *catena_kernel_gate_gate(void);

/// The text of Kernels/pool/pool.cl.
const char *catena_kernel_pool_pool(void);

/// The text of Kernels/normalize/normalize.cl.
const char *catena_kernel_normalize_normalize(void);

/// The text of Kernels/softmax/reduce.cl.
const char *catena_kernel_softmax_reduce(void);

/// The text of Kernels/softmax/softmax.cl.
const char *catena_kernel_softmax_softmax(void);

/// The text of Kernels/elementwise/elementwise.cl.
const char *catena_kernel_elementwise_elementwise(void);

/// The text of Kernels/elementwise/movement.cl.
const char *catena_kernel_elementwise_movement(void);

/// The text of Kernels/optimizer/adam.cl.
const char *catena_kernel_optimizer_adam(void);

/// The text of Kernels/common/types.cl.
const char *catena_kernel_common_types(void);

/// The text of Kernels/elementwise/typed.cl.
const char *catena_kernel_elementwise_typed(void);

/// The text of Kernels/softmax/typed_reduce.cl.
const char *catena_kernel_softmax_typed_reduce(void);

/// The text of Kernels/gemm/integer_product.cl.
const char *catena_kernel_gemm_integer_product(void);

/// The text of Kernels/common/tile.cl.
const char *catena_kernel_common_tile(void);

/// The text of Kernels/gemm/gemm_tiled.cl.
const char *catena_kernel_gemm_gemm_tiled(void);

/// The text of Kernels/conv/convolution_tiled.cl.
const char *catena_kernel_conv_convolution_tiled(void);

/// The text of Kernels/tensor/fragments.cl.
const char *catena_kernel_tensor_fragments(void);

/// The text of Kernels/tensor/convolution.cl.
const char *catena_kernel_tensor_convolution(void);

/// The text of Kernels/features/features.cl.
const char *catena_kernel_features_features(void);

/// The text of Kernels/solver/hessian.cl.
const char *catena_kernel_solver_hessian(void);

/// The text of Kernels/solver/factor.cl.
const char *catena_kernel_solver_factor(void);

/// The text of Kernels/solver/sweep.cl.
const char *catena_kernel_solver_sweep(void);

/// The text of Kernels/solver/eliminate.cl.
const char *catena_kernel_solver_eliminate(void);
