import COneDNN
import CatenaCompute
import CatenaTensors

extension Lowering {
  /// Lowers a convolution by minimal filtering, with as many of the nodes behind it as that does, where it is the
  /// faster way. Returns how many nodes are done, `nil` for none.
  func addWinograd(
    _ problem: ConvolutionProblem, _ source: View, _ weights: Weights, _ candidates: [PostOperations], _ nodes: [Int]
  ) -> Int? {
    guard !problem.readsBFloat16, let taps = weights.packed, let post = candidates.first(where: \.isDoneByWinograd),
      let description = problem.winograd(regions: post.regions)
    else { return nil }
    let done = nodes.prefix(weights.nodeCount + post.nodeCount)
    guard let last = done.last.map({ graph.nodes[$0].outputs[0] }) else { return nil }
    let result =
      post.accumulated ?? allocate(problem.resultShape, .channelsLast(rank: problem.resultShape.rank), .float32)
    let bytes = withUnsafePointer(to: description) { catena_winograd_weight_bytes($0) }
    let packed = plan.addBuffer(
      bytes: bytes,
      .constant { address in
        withUnsafePointer(to: description) {
          catena_winograd_pack($0, taps, address.assumingMemoryBound(to: Float.self))
        }
      })
    let threads = Int32(threads)
    addMixing(
      record(last, kernelName(of: done), implementation: "catena:winograd", operations: problem.operations),
      source: source,
      weights: View(
        buffer: packed, shape: [bytes / MemoryLayout<Float>.stride], strides: [1], storage: .float32),
      bias: weights.bias, result: result, post: post,
      scratch: withUnsafePointer(to: description) { catena_winograd_scratch_bytes($0, threads) }
    ) { binder, at in
      withUnsafePointer(to: description) {
        catena_add_winograd(
          binder.program, $0, at.source.assumingMemoryBound(to: Float.self),
          at.weights.assumingMemoryBound(to: Float.self), at.bias, at.result.assumingMemoryBound(to: Float.self),
          post.operations, Int32(post.operations.count), at.operands, threads, binder.scratch)
      }
    }
    define(last, result)
    return done.count
  }
}

extension PostOperations {
  /// Whether the Winograd kernel does all of them.
  fileprivate var isDoneByWinograd: Bool {
    operations.count <= Int(CATENA_MAX_POST_OPERATIONS)
      && operations.allSatisfy { operation in
        operation.kind != CATENA_POST_ELTWISE || operation.function == CATENA_ELTWISE_RELU
          || operation.function == CATENA_ELTWISE_CLIP
      }
  }
}

extension ConvolutionProblem {
  /// Below this, loading four times the weights and filling tiles at the edges costs more than is saved. Bounds on one
  /// sample, not on the batch: a sample's results must not depend on how many others it is run with.
  private static let leastWinogradPixels = 64
  private static let leastWinogradOperations = 1 << 22

  /// The problem for the Winograd kernel, for one of `regions` equal parts of the batch, where that is the faster way.
  func winograd(regions: Int) -> catena_winograd? {
    guard catena_winograd_is_fast(), form != .backwardData, kernel == [3, 3], groups == 1, dilations == [1, 1],
      form == .mirrored || strides == [1, 1], sourceShape[1].isMultiple(of: 16), resultShape[1].isMultiple(of: 16)
    else { return nil }
    let batch = sourceShape[0] / regions
    guard resultShape[2] * resultShape[3] >= Self.leastWinogradPixels,
      operations / sourceShape[0] >= Self.leastWinogradOperations
    else { return nil }
    return catena_winograd(
      batch: Int64(batch), source_channels: Int64(sourceShape[1]), destination_channels: Int64(resultShape[1]),
      source_height: Int64(sourceShape[2]), source_width: Int64(sourceShape[3]),
      destination_height: Int64(resultShape[2]), destination_width: Int64(resultShape[3]),
      pad_top: Int64(padsBegin[0]), pad_left: Int64(padsBegin[1]))
  }
}
