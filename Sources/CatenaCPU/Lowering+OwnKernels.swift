import COneDNN
import CatenaCompute
import CatenaTensors

extension Lowering {
  /// Lowers a convolution by a kernel of our own, with as many of the nodes behind it as that does. Returns how many
  /// nodes are done, `nil` where there is no such kernel.
  func addPacked(
    _ problem: ConvolutionProblem, _ source: View, _ weights: Weights, _ candidates: [PostOperations], _ nodes: [Int]
  ) -> Int? {
    guard let taps = weights.packed, let post = candidates.first(where: \.isDoneByPackedKernels),
      let kernel = problem.packedKernel(regions: post.regions, threads: Int32(threads))
    else { return nil }
    let done = nodes.prefix(weights.nodeCount + post.nodeCount)
    guard let last = done.last.map({ graph.nodes[$0].outputs[0] }) else { return nil }
    let result =
      post.accumulated ?? allocate(problem.resultShape, .channelsLast(rank: problem.resultShape.rank), .float32)
    addPacked(
      kernel,
      record(last, kernelName(of: done), implementation: kernel.implementation, operations: problem.operations),
      source: source, weights: problem.form == .backwardData ? problem.resultsFirst(taps) : taps, bias: weights.bias,
      result: result, post: post)
    define(last, result)
    return done.count
  }

  /// Adds one execution of a kernel of our own per region.
  func addPacked(
    _ kernel: PackedKernel, _ record: KernelRecord, source: View, weights: [Float], bias: View?, result: View,
    post: PostOperations
  ) {
    let packed = plan.addBuffer(
      bytes: kernel.weightBytes, .constant { kernel.pack(weights, $0.assumingMemoryBound(to: Float.self)) })
    addMixing(
      record, source: source,
      weights: View(
        buffer: packed, shape: [kernel.weightBytes / MemoryLayout<Float>.stride], strides: [1], storage: .float32),
      bias: bias, result: result, post: post, scratch: kernel.scratchBytes
    ) { binder, at in kernel.add(binder, at, post.operations) }
  }
}

extension PostOperations {
  /// Whether the kernels of our own do all of them.
  var isDoneByPackedKernels: Bool {
    operations.count <= Int(CATENA_MAX_POST_OPERATIONS)
      && operations.allSatisfy { operation in
        operation.kind != CATENA_POST_ELTWISE || operation.function == CATENA_ELTWISE_RELU
          || operation.function == CATENA_ELTWISE_CLIP
      }
  }
}

extension ConvolutionProblem {
  /// A strided input gradient's weights, which have what is read in front, with what is written in front.
  fileprivate func resultsFirst(_ weights: [Float]) -> [Float] {
    let (sources, results, taps) = (sourceShape[1], resultShape[1], kernel.reduce(1, *))
    var moved = [Float](repeating: 0, count: weights.count)
    for source in 0..<sources {
      for result in 0..<results {
        for tap in 0..<taps {
          moved[(result * sources + source) * taps + tap] = weights[(source * results + result) * taps + tap]
        }
      }
    }
    return moved
  }
}
