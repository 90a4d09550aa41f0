import CKernelSources

/// Kernels that are built together. Shapes are arguments, so that these few programs serve all graphs.
package enum KernelFamily: String, CaseIterable, Sendable {
  case convolution, gemm, gate, pool, normalize, softmax, elementwise, movement, typed, optimizer

  /// The text that the device's compiler sees: the codes of the host's tables, what families share, the family.
  var source: String {
    ([KernelFunctions.definitions] + (Self.common + own).map { String(cString: $0()) }).joined(separator: "\n")
  }

  /// Build options behind the device's.
  var buildOptions: String { "" }

  private typealias Accessor = () -> UnsafePointer<CChar>

  private static var common: [Accessor] {
    [
      { catena_kernel_common_lanes() }, { catena_kernel_common_functions() }, { catena_kernel_common_epilogue() },
      { catena_kernel_common_indexing() },
    ]
  }

  private var own: [Accessor] {
    switch self {
    case .convolution:
      [
        { catena_kernel_common_tile() }, { catena_kernel_conv_convolution() },
        { catena_kernel_conv_convolution_tiled() },
      ]
    case .gemm:
      [{ catena_kernel_common_tile() }, { catena_kernel_gemm_gemm() }, { catena_kernel_gemm_gemm_tiled() }]
    case .gate: [{ catena_kernel_gate_gate() }]
    case .pool: [{ catena_kernel_pool_pool() }]
    case .normalize: [{ catena_kernel_normalize_normalize() }]
    case .softmax: [{ catena_kernel_softmax_reduce() }, { catena_kernel_softmax_softmax() }]
    case .elementwise: [{ catena_kernel_elementwise_elementwise() }]
    case .movement: [{ catena_kernel_elementwise_movement() }]
    case .typed:
      [
        { catena_kernel_common_types() }, { catena_kernel_elementwise_typed() },
        { catena_kernel_softmax_typed_reduce() }, { catena_kernel_gemm_integer_product() },
      ]
    case .optimizer: [{ catena_kernel_optimizer_adam() }]
    }
  }
}
