import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  // MARK: Reductions

  func lowerReduce(_ node: Node, _ reduce: Reduce) {
    let (data, value) = (node.inputs[0], node.outputs[0])
    guard !reduce.axes.isEmpty else {
      views[value] = view(data)
      return
    }
    let type: Storage = storage(data).isFloatingPoint ? .float32 : .int64
    var source = view(data)
    if source.storage != type { source = logical(data, type) }
    let kept = source.shape.dimensions.indices.filter { !reduce.axes.contains($0) }
    let order = kept + reduce.axes
    let keptShape = Shape(kept.map { source.shape[$0] })
    var result = allocate(keptShape, .logical(rank: kept.count), type)
    let kind = reduce.kind.kernel
    addStep(record(value, node.operation.kernelName, inputs: [source]), reads: [source], writes: [result]) {
      [result] binder in
      catena_add_reduce(
        binder.program, kind, Int32(order.count), Int32(reduce.axes.count), order.map { Int64(source.shape[$0]) },
        binder.pointer(source), order.map { Int64(source.strides[$0]) }, binder.pointer(result), type.kernelType)
    }
    result.shape = graph.shape(value)
    result.strides = result.shape.strides
    define(value, result)
  }

  func lowerArgReduce(_ node: Node, _ reduce: ArgReduce) {
    let (data, value) = (node.inputs[0], node.outputs[0])
    let type: Storage = storage(data).isFloatingPoint ? .float32 : .int64
    let source = logical(data, type)
    let shape = source.shape
    let result = allocate(graph.shape(value), .logical(rank: graph.shape(value).rank), .int64)
    addStep(record(value, "argReduce", inputs: [source]), reads: [source], writes: [result]) { binder in
      catena_add_arg_reduce(
        binder.program, binder.pointer(source), binder.pointer(result).assumingMemoryBound(to: Int64.self),
        Int64(shape.count(of: 0..<reduce.axis)), Int64(shape[reduce.axis]),
        Int64(shape.count(of: reduce.axis + 1..<shape.rank)), type.kernelType, reduce.findsMaximum, reduce.selectsLast)
    }
    views[value] = result
  }

  func lowerSoftmax(_ node: Node, axes: [Int], isLogarithm: Bool) {
    let (data, value) = (node.inputs[0], node.outputs[0])
    let shape = graph.shape(data)
    let others = view(data).layout.order.filter { !axes.contains($0) }
    let inner = view(data).layout.order.filter(axes.contains)
    let source = dense(data, AxisOrder(order: others + inner))
    let result = allocate(shape, AxisOrder(order: others + inner), .float32)
    let columns = axes.reduce(1) { $0 * shape[$1] }
    addStep(record(value, node.operation.name, inputs: [source]), reads: [source], writes: [result]) { binder in
      catena_add_softmax(
        binder.program, binder.floats(source), binder.floats(result), Int64(shape.elementCount / max(columns, 1)),
        Int64(columns), isLogarithm)
    }
    define(value, result)
  }

  // MARK: Windows

  func lowerPool(_ node: Node, _ pool: Pool) {
    let (data, value) = (node.inputs[0], node.outputs[0])
    let source = channelsLast(data)
    let result = allocate(graph.shape(value), .channelsLast(rank: source.shape.rank), .float32)
    let description = pool.description(source: source.shape, result: result.shape)
    addStep(record(value, "pool", inputs: [source]), reads: [source], writes: [result]) { binder in
      withUnsafePointer(to: description) {
        catena_add_pool(binder.program, $0, binder.floats(source), binder.floats(result))
      }
    }
    define(value, result)
  }

  func lowerPoolGradient(_ node: Node, _ pool: Pool) {
    let value = node.outputs[0]
    let gradient = channelsLast(node.inputs[0])
    let source = channelsLast(node.inputs[1])
    let output = channelsLast(node.inputs[2])
    let result = allocate(source.shape, .channelsLast(rank: source.shape.rank), .float32)
    let description = pool.description(source: source.shape, result: gradient.shape)
    let inputs = [gradient, source, output]
    addStep(record(value, "poolGradient", inputs: inputs), reads: inputs, writes: [result]) { binder in
      withUnsafePointer(to: description) {
        catena_add_pool_gradient(
          binder.program, $0, binder.floats(gradient), binder.floats(source), binder.floats(output),
          binder.floats(result))
      }
    }
    define(value, result)
  }

  // MARK: Normalisation

  func lowerResponseNormalization(_ node: Node, _ parameters: LocalResponseNormalization) {
    let value = node.outputs[0]
    let inputs = node.inputs.map { channelsLast($0) }
    let shape = graph.shape(value)
    let result = allocate(shape, .channelsLast(rank: shape.rank), .float32)
    let description = catena_lrn(
      alpha: parameters.alpha, beta: parameters.beta, bias: parameters.bias, size: Int64(parameters.size))
    let pixels = Int64(shape.elementCount / max(shape[1], 1))
    addStep(record(value, node.operation.name, inputs: inputs), reads: inputs, writes: [result]) { binder in
      withUnsafePointer(to: description) {
        let pointers = inputs.map { binder.floats($0) }
        if pointers.count == 1 {
          catena_add_lrn(binder.program, $0, pointers[0], binder.floats(result), pixels, Int64(shape[1]))
        } else {
          catena_add_lrn_gradient(
            binder.program, $0, pointers[0], pointers[1], pointers[2], binder.floats(result), pixels, Int64(shape[1]))
        }
      }
    }
    define(value, result)
  }

  func lowerInstanceNormalization(_ node: Node, epsilon: Float) {
    let value = node.outputs[0]
    let source = channelsLast(node.inputs[0])
    let scale = logical(node.inputs[1])
    let bias = logical(node.inputs[2])
    let shape = source.shape
    let result = allocate(shape, .channelsLast(rank: shape.rank), .float32)
    addStep(
      record(value, "instanceNormalization", inputs: [source]), reads: [source, scale, bias], writes: [result]
    ) { binder in
      catena_add_instance_normalization(
        binder.program, binder.floats(source), binder.floats(scale), binder.floats(bias), binder.floats(result),
        Int64(shape[0]), Int64(shape.count(of: 2..<shape.rank)), Int64(shape[1]), epsilon)
    }
    define(value, result)
  }

  // MARK: Optimisation

  func lowerAdam(_ node: Node, _ adam: Adam) {
    let shape = graph.shape(node.inputs[0])
    let inputs = node.inputs.prefix(5).map { logical($0) }
    let layout = AxisOrder.logical(rank: shape.rank)
    let mask: View
    if graph.shape(node.inputs[5]) == shape {
      mask = logical(node.inputs[5])
    } else {
      mask = copied(
        view(node.inputs[5]).broadcast(to: shape), to: layout, .float32, name: graph[node.inputs[5]].name)
    }
    let results = node.outputs.map { allocate(graph.shape($0), .logical(rank: graph.shape($0).rank), .float32) }
    let description = catena_adam(
      learning_rate: adam.learningRate, beta1: adam.beta1, beta2: adam.beta2, epsilon: adam.epsilon)
    let record = record(node.outputs[0], "adam", inputs: inputs + results.dropFirst())
    let takeovers = zip(results, [inputs[0], inputs[2], inputs[3], inputs[4]]).map {
      Takeover(output: $0.buffer, input: $1.buffer)
    }
    plan.steps.append(
      PlannedStep(
        record: record, reads: (inputs + [mask]).map(\.buffer), writes: results.map(\.buffer), takeovers: takeovers
      ) { binder in
        let read = (inputs + [mask]).map { binder.floats($0) }
        let written = results.map { binder.floats($0) }
        withUnsafePointer(to: description) {
          catena_add_adam(
            binder.program, $0, Int64(shape.elementCount), read[0], read[1], read[2], read[3], read[4], read[5],
            written[0], written[1], written[2], written[3])
        }
      })
    for (value, result) in zip(node.outputs, results) { define(value, result) }
  }
}

extension Reduce.Kind {
  fileprivate var kernel: catena_reduction {
    switch self {
    case .sum: CATENA_REDUCE_SUM
    case .mean: CATENA_REDUCE_MEAN
    case .maximum: CATENA_REDUCE_MAXIMUM
    case .minimum: CATENA_REDUCE_MINIMUM
    case .product: CATENA_REDUCE_PRODUCT
    }
  }
}

extension Pool {
  /// The window for kernels, which see three spatial axes.
  fileprivate func description(source: Shape, result: Shape) -> catena_pool {
    let missing = 3 - kernel.count
    func three(_ numbers: [Int], _ filler: Int) -> (Int64, Int64, Int64) {
      triple([Int](repeating: filler, count: missing) + numbers)
    }
    var pool = catena_pool()
    switch kind {
    case .maximum: pool.kind = CATENA_POOL_MAXIMUM
    case .average(let countsPadding): pool.kind = countsPadding ? CATENA_POOL_AVERAGE_PADDED : CATENA_POOL_AVERAGE
    case .norm(let p):
      pool.kind = CATENA_POOL_NORM
      pool.p = Int32(p)
    }
    pool.batch = Int64(source[0])
    pool.channels = Int64(source[1])
    pool.source = three(Array(source.dimensions.dropFirst(2)), 1)
    pool.destination = three(Array(result.dimensions.dropFirst(2)), 1)
    pool.kernel = three(kernel, 1)
    pool.strides = three(strides, 1)
    pool.dilations = three(dilations, 1)
    pool.pads_begin = three(padsBegin, 0)
    pool.pads_end = three(padsEnd, 0)
    return pool
  }
}
