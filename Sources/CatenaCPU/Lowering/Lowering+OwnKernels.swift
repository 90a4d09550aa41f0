import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers a convolution by a kernel of our own, with as many of the nodes behind it as that does. Returns how many
  /// nodes are done, `nil` where there is no such kernel.
  func addPacked(
    _ problem: ConvolutionProblem, _ source: View, _ weights: Weights, _ candidates: [PostOperations], _ nodes: [Int]
  ) -> Int? {
    guard let taps = weights.packed else { return nil }
    func last(_ post: PostOperations) -> ValueID {
      graph.nodes[nodes[weights.nodeCount + post.nodeCount - 1]].outputs[0]
    }
    // Only images that are read in bf16 are written in it; what is added lies as the result does.
    func written(_ post: PostOperations) -> Storage { problem.readsBFloat16 ? storage(last(post)) : .float32 }
    let fitting = candidates.first { $0.isDoneByPackedKernels && $0.adds(only: written($0)) }
    guard let post = fitting,
      let kernel = problem.packedKernel(
        regions: post.regions, writes: written(post), threads: Int32(threads),
        allowsMinimalFiltering: allowsMinimalFiltering)
    else { return nil }
    let done = nodes.prefix(weights.nodeCount + post.nodeCount)
    let result =
      post.accumulated ?? allocate(problem.resultShape, .channelsLast(rank: problem.resultShape.rank), written(post))
    addPacked(
      kernel,
      record(last(post), kernelName(of: done), implementation: kernel.implementation, operations: problem.operations),
      source: source,
      weights: { problem.form == .backwardData ? problem.resultsFirst(taps.values()) : taps.values() },
      bias: weights.bias, result: result, post: post)
    define(last(post), result)
    return done.count
  }

  /// Adds one execution of a kernel of our own per region.
  /// - Parameter weights: row-major; made when they are packed.
  func addPacked(
    _ kernel: PackedKernel, _ record: KernelRecord, source: View, weights: @escaping () -> [Float], bias: View?,
    result: View, post: PostOperations
  ) {
    let packed = plan.addBuffer(
      bytes: kernel.weightBytes, .constant { kernel.pack(weights(), $0.assumingMemoryBound(to: Float.self)) })
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

  /// Whether every image that is added is kept so.
  fileprivate func adds(only storage: Storage) -> Bool {
    zip(operations, operands).allSatisfy { operation, operand in
      operation.kind != CATENA_POST_ADD_TENSOR || operand?.storage == storage
    } && (accumulated.map { $0.storage == storage } ?? true)
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
