import CKernelSources

/// Kernels that are built together. Shapes are arguments, so that these few programs serve all graphs.
package enum KernelFamily: String, CaseIterable, Sendable {
  case convolution, gemm, gate, pool, normalize, softmax, elementwise, movement, typed, optimizer
  case tensorTF32, tensorTF32Small, tensorBF16, tensorBF16Small
  /// The linear algebra of traces, in f32 and in f64.
  case solver, solverDouble

  /// The text that the device's compiler sees: the codes of the host's tables, what families share, the family.
  var source: String {
    ([Self.commonSource] + own.map { String(cString: $0()) }).joined(separator: "\n")
  }

  /// What stands before the kernels of every family.
  static var commonSource: String {
    ([inlining, KernelFunctions.definitions] + common.map { String(cString: $0()) }).joined(separator: "\n")
  }

  /// Build options behind the device's.
  var buildOptions: String { tile?.buildOptions ?? (needsDoubles ? "-DREAL_IS_DOUBLE=1" : "") }

  /// Whether it is built only where the device computes in f64.
  package var needsDoubles: Bool { self == .solverDouble }

  /// Whether graphs run on it, one problem of the shared tables at a time.
  package var runsGraphs: Bool { tile == nil && self != .solver && self != .solverDouble }

  /// The shape of a build for tensor cores; `nil` for other families. 48 KiB of local memory are all that NVIDIA's
  /// OpenCL gives a work-group.
  package var tile: TensorTile? {
    switch self {
    case .tensorTF32:
      TensorTile(precision: .tf32, rows: 128, columns: 128, rowWarps: 2, columnWarps: 4, stages: 3)
    case .tensorTF32Small: TensorTile(precision: .tf32, rows: 64, columns: 64, rowWarps: 2, columnWarps: 2, stages: 3)
    case .tensorBF16: TensorTile(precision: .bf16, rows: 128, columns: 128, rowWarps: 2, columnWarps: 4, stages: 2)
    case .tensorBF16Small: TensorTile(precision: .bf16, rows: 64, columns: 64, rowWarps: 2, columnWarps: 2, stages: 2)
    case .convolution, .gemm, .gate, .pool, .normalize, .softmax, .elementwise, .movement, .typed, .optimizer, .solver,
      .solverDouble:
      nil
    }
  }

  /// A function that is `inline` and nothing else has no definition where a compiler chooses not to inline it. PoCL 3
  /// defines the word itself and warns of a second definition.
  private static let inlining = """
    #undef inline
    #define inline static inline
    """

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
    case .tensorTF32, .tensorTF32Small, .tensorBF16, .tensorBF16Small:
      [{ catena_kernel_tensor_fragments() }, { catena_kernel_tensor_convolution() }]
    case .solver, .solverDouble:
      [
        { catena_kernel_solver_hessian() }, { catena_kernel_solver_factor() }, { catena_kernel_solver_sweep() },
        { catena_kernel_solver_eliminate() },
      ]
    }
  }
}
