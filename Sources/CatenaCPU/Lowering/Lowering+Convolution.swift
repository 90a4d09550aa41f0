import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers a convolution with the nodes behind it. Returns how many nodes are done.
  func lowerConvolution(_ problem: ConvolutionProblem, _ nodes: [Int]) throws(ComputeError) -> Int {
    var problem = problem
    if narrowed.contains(graph.nodes[nodes[0]].outputs[0]), graph.constants[problem.weight] != nil {
      problem.readsBFloat16 = true
      if let done = try lowerDenseConvolution(problem, nodes, mustBeGenerated: true) { return done }
      problem.readsBFloat16 = false
    }
    guard let done = try lowerDenseConvolution(problem, nodes, mustBeGenerated: false) else {
      preconditionFailure("a convolution in f32 has an implementation")
    }
    return done
  }

  /// The same in the element types that the problem names; `nil` where code must be generated for it and is not.
  private func lowerDenseConvolution(
    _ problem: ConvolutionProblem, _ nodes: [Int], mustBeGenerated: Bool
  ) throws(ComputeError) -> Int? {
    let source = convolutionSource(problem)
    var problem = problem
    problem.sourceShape = source.shape
    problem.padsBegin = problem.padsBegin.map { max(0, $0) }
    problem.padsEnd = problem.padsEnd.map { max(0, $0) }
    let weights = try convolutionWeights(problem, nodes)
    let value = graph.nodes[nodes[weights.nodeCount - 1]].outputs[0]
    var candidates = postOperationCandidates(nodes.dropFirst(weights.nodeCount), behind: value)
    // What follows a value that is kept in bf16 is done in bf16, or by passes of its own.
    if !problem.readsBFloat16, narrowed.contains(value) { candidates = [PostOperations()] }
    if let done = addPacked(problem, source, weights, candidates, nodes) { return done }
    if problem.form == .backwardData {
      let isDone = try addBackwardData(problem, source, weights, value, mustBeGenerated: mustBeGenerated)
      return isDone ? weights.nodeCount : nil
    }
    func last(_ post: PostOperations) -> ValueID {
      graph.nodes[nodes[weights.nodeCount + post.nodeCount - 1]].outputs[0]
    }
    let written = problem.readsBFloat16 ? storage(last(candidates[0])) : .float32
    candidates = candidates.filter { !problem.readsBFloat16 || storage(last($0)) == written }
    guard candidates.contains(where: { $0.nodeCount == 0 }) else { return nil }
    let (primitive, post) = try best(candidates) { (post) throws(ComputeError) in
      try Primitive.convolution(
        problem.description(
          regions: post.regions, hasBias: weights.bias != nil, hasPlainWeights: weights.packed == nil,
          writes: written),
        post.operations, engine)
    }
    if mustBeGenerated, !primitive.isGenerated {
      return nil
    }
    let result =
      post.accumulated ?? allocate(problem.resultShape, .channelsLast(rank: problem.resultShape.rank), written)
    let done = nodes.prefix(weights.nodeCount + post.nodeCount)
    addPrimitive(
      primitive,
      record: record(
        last(post), kernelName(of: done), implementation: primitive.implementation, operations: problem.operations),
      source: source, weights: weights.view(for: primitive, in: self), bias: weights.bias, result: result, post: post)
    define(last(post), result)
    return done.count
  }

  /// What a kernel that does these nodes is called.
  func kernelName(of nodes: some Sequence<Int>) -> String {
    nodes.map { graph.nodes[$0].operation.kernelName }.joined(separator: "+")
  }

  /// The first candidate for which code is generated; if there is none, the plain one, whatever runs it.
  func best(
    _ candidates: [PostOperations], _ make: (PostOperations) throws(ComputeError) -> Primitive
  ) throws(ComputeError) -> (Primitive, PostOperations) {
    for candidate in candidates {
      let primitive: Primitive
      do { primitive = try make(candidate) } catch {
        // A combination that the library does not have is no failure while a shorter one is left.
        if candidate.nodeCount == 0 { throw error }
        continue
      }
      if primitive.isGenerated || candidate.nodeCount == 0 { return (primitive, candidate) }
    }
    preconditionFailure("the plain primitive is always a candidate")
  }

  /// The dense source, without what negative padding takes off.
  private func convolutionSource(_ problem: ConvolutionProblem) -> View {
    let storage = problem.readsBFloat16 ? Storage.bfloat16 : .float32
    let layout = AxisOrder.channelsLast(rank: problem.sourceShape.rank)
    guard let crop = problem.crop() else { return dense(problem.source, layout, storage) }
    return copied(view(problem.source).sliced(crop), to: layout, storage, name: graph[problem.source].name)
  }

  // MARK: Weights

  /// Weights and bias, and how many nodes they stand for.
  struct Weights {
    /// To be packed; `nil` when they come at run time.
    var packed: PackableWeights?
    var plain: View?
    var bias: View?
    var nodeCount = 1

    /// The weights as the primitive reads them.
    func view(for primitive: Primitive, in lowering: Lowering) -> View {
      if let plain { return plain }
      guard let packed else { preconditionFailure("weights are constant or plain") }
      let buffer = lowering.plan.addBuffer(
        bytes: primitive.weightBytes,
        .constant { (address) throws(ComputeError) in try primitive.pack(packed.values(), into: address) })
      return View(buffer: buffer, shape: [packed.count], strides: [1], storage: .float32)
    }
  }

  private func convolutionWeights(_ problem: ConvolutionProblem, _ nodes: [Int]) throws(ComputeError) -> Weights {
    guard let tensor = graph.constants[problem.weight] else {
      return Weights(plain: logical(problem.weight), bias: problem.bias.map { logical($0) })
    }
    guard nodes.count > 1, problem.form != .backwardData, let folded = followingNormalization(nodes[1], problem) else {
      return Weights(
        packed: PackableWeights(count: tensor.shape.elementCount) { problem.weights(tensor, scale: nil) },
        bias: problem.bias.map { logical($0) })
    }
    let bias = constant(
      Tensor(doubles: folded.shift, shape: [folded.shift.count], elementType: .float32), .logical(rank: 1), .float32)
    return Weights(
      packed: PackableWeights(count: tensor.shape.elementCount) { problem.weights(tensor, scale: folded.scale) },
      bias: bias, nodeCount: 2)
  }

  /// Factor and bias of a convolution that a constant normalisation follows.
  private func followingNormalization(
    _ index: Int, _ problem: ConvolutionProblem
  ) -> (scale: [Double], shift: [Double])? {
    guard case .batchNormalization(let epsilon) = graph.nodes[index].operation,
      var folded = foldedNormalization(graph.nodes[index], epsilon: epsilon)
    else { return nil }
    guard let bias = problem.bias else { return folded }
    guard let values = graph.constants[bias]?.doubles else { return nil }
    for channel in values.indices { folded.shift[channel] += folded.scale[channel] * values[channel] }
    return folded
  }

  // MARK: Steps

  /// Where a kernel's operands lie, for one region.
  struct MixingPointers {
    var source: UnsafeMutableRawPointer
    var weights: UnsafeMutableRawPointer
    var bias: UnsafeMutablePointer<Float>?
    var result: UnsafeMutableRawPointer
    /// One per post-operation.
    var operands: [UnsafeRawPointer?]
  }

  /// Adds one execution of a primitive per region.
  func addPrimitive(
    _ primitive: Primitive, record: KernelRecord, source: View, weights: View, bias: View?, result: View,
    post: PostOperations
  ) {
    addMixing(
      record, source: source, weights: weights, bias: bias, result: result, post: post,
      scratch: primitive.scratchBytes
    ) { binder, at throws(ComputeError) in
      try catena_add_primitive(
        binder.program, primitive.pointer, at.source, at.weights, at.bias, at.result, at.operands, binder.scratch
      ).check(device: deviceName)
    }
  }

  /// Adds one execution of a mixing kernel per region.
  func addMixing(
    _ record: KernelRecord, source: View, weights: View, bias: View?, result: View, post: PostOperations,
    scratch: Int, _ add: @escaping (Binder, MixingPointers) throws(ComputeError) -> Void
  ) {
    let operands = post.operands.compactMap { $0 }
    let inputs = [source, weights] + [bias].compactMap { $0 } + operands + [post.accumulated].compactMap { $0 }
    var record = record
    record.bytes = (inputs + [result]).reduce(0) { $0 + $1.shape.elementCount * $1.storage.byteCount }
    addStep(record, reads: inputs, writes: [result], scratch: scratch) { (binder) throws(ComputeError) in
      for region in 0..<post.regions {
        func slice(_ view: View) -> UnsafeMutableRawPointer {
          binder.pointer(view) + region * (view.shape[0] / post.regions) * view.strides[0] * view.storage.byteCount
        }
        try add(
          binder,
          MixingPointers(
            source: slice(source), weights: binder.pointer(weights), bias: bias.map { binder.floats($0) },
            result: slice(result),
            operands: post.operands.map { operand in operand.map { UnsafeRawPointer(slice($0)) } }))
      }
    }
  }

  /// A strided input gradient: no primitive does anything behind it, so its bias is a pass of its own.
  private func addBackwardData(
    _ problem: ConvolutionProblem, _ source: View, _ weights: Weights, _ value: ValueID, mustBeGenerated: Bool
  ) throws(ComputeError) -> Bool {
    let written = problem.readsBFloat16 ? storage(value) : .float32
    let primitive = try Primitive.convolution(
      problem.description(regions: 1, hasBias: false, hasPlainWeights: weights.packed == nil, writes: written), [],
      engine)
    if mustBeGenerated, !primitive.isGenerated { return false }
    let layout = AxisOrder.channelsLast(rank: problem.resultShape.rank)
    let result = allocate(problem.resultShape, layout, written)
    let kind = "convolutionTranspose"
    addPrimitive(
      primitive, record: record(value, kind, implementation: primitive.implementation, operations: problem.operations),
      source: source, weights: weights.view(for: primitive, in: self), bias: nil, result: result,
      post: PostOperations())
    guard let bias = weights.bias else {
      define(value, result)
      return true
    }
    let biased = allocate(problem.resultShape, layout, .float32)
    var program = ElementwiseProgram(shape: problem.resultShape, isInteger: false)
    var perChannel = bias
    perChannel.shape = problem.resultShape
    perChannel.strides = problem.resultShape.dimensions.indices.map { $0 == 1 ? 1 : 0 }
    let left = program.addOperand(result, CATENA_READ)
    let right = program.addOperand(perChannel, CATENA_READ)
    let destination = program.addOperand(biased, CATENA_WRITE)
    program.append(CATENA_ADD, destination, left, right)
    addElementwise(program, name: graph[value].name, kind: "bias", shape: problem.resultShape)
    define(value, biased)
    return true
  }
}

extension View {
  /// A strided part, in place.
  func sliced(_ slice: Slice) -> View {
    var result = self
    result.shape = Shape(slice.sizes)
    for axis in slice.starts.indices where slice.sizes[axis] > 0 {
      result.offset += slice.starts[axis] * strides[axis]
      result.strides[axis] = strides[axis] * slice.steps[axis]
    }
    return result
  }
}
