import COneDNN
import CatenaTensors

/// Constant weights in row-major order, made when they are packed: so that only those of one layer are ever held besides
/// the network's and the packed ones.
struct PackableWeights {
  /// How many they are.
  var count: Int
  /// Makes them.
  var values: () -> [Float]
}

/// A kernel of our own that multiplies images by constant weights, packed once into a form of its own.
struct PackedKernel {
  /// What kernel records call it.
  var implementation: String
  var weightBytes: Int
  var scratchBytes: Int
  /// Brings row-major weights (results, sources, taps) into that form.
  var pack: (_ weights: [Float], _ packed: UnsafeMutablePointer<Float>) -> Void
  /// Adds one execution.
  var add: (Binder, Lowering.MixingPointers, [catena_post_operation]) -> Void
}

extension PackedKernel {
  /// Minimal filtering of 3 x 3 convolutions, four times fewer multiplications.
  init(_ problem: catena_winograd, threads: Int32) {
    implementation = "catena:winograd"
    (weightBytes, scratchBytes) = withUnsafePointer(to: problem) {
      (catena_winograd_weight_bytes($0), catena_winograd_scratch_bytes($0, threads))
    }
    pack = { weights, packed in withUnsafePointer(to: problem) { catena_winograd_pack($0, weights, packed) } }
    add = { binder, at, operations in
      withUnsafePointer(to: problem) {
        catena_add_winograd(
          binder.program, $0, at.source, at.weights.assumingMemoryBound(to: Float.self), at.bias, at.result, operations,
          Int32(operations.count), at.operands, threads, binder.scratch)
      }
    }
  }

  /// Any dense convolution, or a matrix product, one of the ways to compute it.
  init(_ problem: catena_implicit_gemm, by way: DenseRoutines = .implicit, threads: Int32) {
    implementation = problem.reads_bfloat16 ? "\(way.name):bf16" : way.name
    (weightBytes, scratchBytes) = withUnsafePointer(to: problem) {
      (way.weightBytes($0), way.scratchBytes($0, threads))
    }
    pack = { weights, packed in withUnsafePointer(to: problem) { way.pack($0, weights, packed) } }
    add = { binder, at, operations in
      withUnsafePointer(to: problem) {
        way.add(
          binder.program, $0, at.source, at.weights.assumingMemoryBound(to: Float.self), at.bias, at.result,
          operations, Int32(operations.count), at.operands, threads, binder.scratch)
      }
    }
  }
}

/// The routines of one way to compute a dense convolution.
struct DenseRoutines: Sendable {
  var name: String
  var weightBytes: @Sendable (UnsafePointer<catena_implicit_gemm>?) -> Int
  var scratchBytes: @Sendable (UnsafePointer<catena_implicit_gemm>?, Int32) -> Int
  var pack:
    @Sendable (UnsafePointer<catena_implicit_gemm>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?) -> Void
  var add:
    @Sendable (
      OpaquePointer?, UnsafePointer<catena_implicit_gemm>?, UnsafeRawPointer?, UnsafePointer<Float>?,
      UnsafePointer<Float>?, UnsafeMutableRawPointer?, UnsafePointer<catena_post_operation>?, Int32,
      UnsafePointer<UnsafeRawPointer?>?, Int32, UnsafeMutableRawPointer?
    ) -> Void

  /// As a product of gathered matrices.
  static let implicit = DenseRoutines(
    name: "catena:implicit", weightBytes: catena_implicit_gemm_weight_bytes,
    scratchBytes: catena_implicit_gemm_scratch_bytes, pack: catena_implicit_gemm_pack, add: catena_add_implicit_gemm)
  /// From copied lines: little depth, or few results.
  static let direct = DenseRoutines(
    name: "catena:direct", weightBytes: catena_direct_weight_bytes, scratchBytes: catena_direct_scratch_bytes,
    pack: catena_direct_pack, add: catena_add_direct)
  /// From lines copied into planes: results that are no multiple of a vector.
  static let planes = DenseRoutines(
    name: "catena:planes", weightBytes: catena_planes_weight_bytes, scratchBytes: catena_planes_scratch_bytes,
    pack: catena_planes_pack, add: catena_add_planes)
}

extension ConvolutionProblem {
  /// Below this, loading four times the weights costs more than is saved for one sample, which is what inference is
  /// often asked for. Gradients are of several samples as a rule, and are faster so down to the last 7 x 7 pixels. A
  /// bound on one sample, not on the batch: a sample's results must not depend on how many others it is run with.
  private var leastWinogradPixels: Int { form == .mirrored ? 49 : 64 }

  /// The fastest kernel of our own for one of `regions` equal parts of the batch; `nil` where there is none.
  ///
  /// Images in bf16 are multiplied in f32 by minimal filtering: half the digits double the rate of products, minimal
  /// filtering quadruples it and loses no digit. Where there are too few channels for that they are multiplied directly, in
  /// bf16; all others are left to generated code, as all are where the processor has matrix units.
  func packedKernel(
    regions: Int, writes: Storage, threads: Int32, allowsMinimalFiltering: Bool
  ) -> PackedKernel? {
    guard catena_panels_are_fast(), groups == 1, spatialRank == 2, !readsBFloat16 || !Machine.hasMatrixUnits else {
      return nil
    }
    var problem = implicitGEMM(regions: regions)
    problem.reads_bfloat16 = readsBFloat16
    problem.writes_bfloat16 = writes == .bfloat16
    let (direct, planes) = withUnsafePointer(to: problem) { (catena_direct_cycles($0), catena_planes_cycles($0)) }
    if allowsMinimalFiltering, var problem = winograd(regions: regions),
      withUnsafePointer(to: problem, { catena_winograd_cycles($0) }) < min(direct, planes)
    {
      problem.reads_bfloat16 = readsBFloat16
      problem.writes_bfloat16 = writes == .bfloat16
      return PackedKernel(problem, threads: threads)
    }
    if min(direct, planes) < .infinity {
      return PackedKernel(problem, by: planes < direct ? .planes : .direct, threads: threads)
    }
    let isPossible = !readsBFloat16 && withUnsafePointer(to: problem) { catena_implicit_gemm_is_possible($0) }
    return isPossible ? PackedKernel(problem, threads: threads) : nil
  }

  private func winograd(regions: Int) -> catena_winograd? {
    guard form != .backwardData, kernel == [3, 3], dilations == [1, 1], form == .mirrored || strides == [1, 1],
      resultShape[2] * resultShape[3] >= leastWinogradPixels
    else { return nil }
    return catena_winograd(
      batch: Int64(sourceShape[0] / regions), source_channels: Int64(sourceShape[1]),
      destination_channels: Int64(resultShape[1]), source_height: Int64(sourceShape[2]),
      source_width: Int64(sourceShape[3]), destination_height: Int64(resultShape[2]),
      destination_width: Int64(resultShape[3]), pad_top: Int64(padsBegin[0]), pad_left: Int64(padsBegin[1]),
      reads_bfloat16: false, writes_bfloat16: false)
  }

  private func implicitGEMM(regions: Int) -> catena_implicit_gemm {
    let steps = form == .mirrored ? [1, 1] : strides
    return catena_implicit_gemm(
      is_backward_data: form == .backwardData, batch: Int64(sourceShape[0] / regions),
      source_channels: Int64(sourceShape[1]), destination_channels: Int64(resultShape[1]),
      source_height: Int64(sourceShape[2]), source_width: Int64(sourceShape[3]),
      destination_height: Int64(resultShape[2]), destination_width: Int64(resultShape[3]),
      kernel_height: Int64(kernel[0]), kernel_width: Int64(kernel[1]), row_stride: Int64(steps[0]),
      column_stride: Int64(steps[1]), row_dilation: Int64(dilations[0]), column_dilation: Int64(dilations[1]),
      pad_top: Int64(padsBegin[0]), pad_left: Int64(padsBegin[1]), reads_bfloat16: false, writes_bfloat16: false)
  }
}

extension catena_implicit_gemm {
  /// A product of `rows` rows by a constant matrix.
  init(rows: Int, depth: Int, columns: Int) {
    self.init(
      is_backward_data: false, batch: Int64(rows), source_channels: Int64(depth), destination_channels: Int64(columns),
      source_height: 1, source_width: 1, destination_height: 1, destination_width: 1, kernel_height: 1,
      kernel_width: 1, row_stride: 1, column_stride: 1, row_dilation: 1, column_dilation: 1, pad_top: 0, pad_left: 0,
      reads_bfloat16: false, writes_bfloat16: false)
  }
}
