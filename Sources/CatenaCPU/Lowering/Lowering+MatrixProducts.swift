import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// Lowers a Gemm with the nodes behind it. Returns how many nodes are done.
  func lowerGemm(_ gemm: Gemm, _ nodes: [Int]) throws(ComputeError) -> Int {
    let node = graph.nodes[nodes[0]]
    let value = node.outputs[0]
    guard storage(value).isFloatingPoint else {
      lowerIntegerGemm(gemm, node)
      return nodes.count
    }
    let a = matrix(node.inputs[0], isTransposed: gemm.transposeA)
    let b = matrix(node.inputs[1], isTransposed: gemm.transposeB)
    let bias = node.inputs.count > 2 ? rowBias(node.inputs[2], gemm, columns: b.shape[1]) : nil
    // What the primitive itself cannot do follows it in a pass of its own.
    let isPlain = gemm.alpha == 1 && (node.inputs.count < 3 || bias != nil)
    let candidates =
      isPlain
      ? postOperationCandidates(nodes.dropFirst(), behind: value) : [PostOperations()]
    let result = allocate(graph.shape(value), .logical(rank: 2), .float32)
    // Regions multiply rows, not whole products: only one gate row for all can be a post-operation.
    let product = Product(
      source: a, weights: b, constant: graph.constants[node.inputs[1]].map { gemm.transposeB ? $0.transposed() : $0 },
      result: result, bias: isPlain ? bias : nil, value: value)
    let done = try addProduct(product, candidates.filter { $0.regions == 1 }, nodes)
    if !isPlain { addScaled(gemm, node, result) }
    return done
  }

  /// Lowers numpy's matmul.
  func lowerMatmul(_ node: Node) throws(ComputeError) {
    let (left, right) = (node.inputs[0], node.inputs[1])
    let value = node.outputs[0]
    guard storage(value).isFloatingPoint else {
      lowerIntegerMatmul(node)
      return
    }
    var a = matmulOperand(view32(left), isLeft: true)
    var b = matmulOperand(view32(right), isLeft: false)
    // The result with the axes of one element that vectors leave out.
    let batch = graph.shape(value).dimensions.dropLast(
      (graph.shape(left).rank > 1 ? 1 : 0) + (graph.shape(right).rank > 1 ? 1 : 0))
    let shape = Shape(batch + [a.shape[-2], b.shape[-1]])
    let constant = b.shape.rank == 2 ? graph.constants[right] : nil
    var target = shape
    if b.shape.rank == 2, a.shape.rank > 2 {
      // One large product instead of many small ones.
      let rows = a.shape.elementCount / a.shape[-1]
      let order = AxisOrder.logical(rank: a.shape.rank)
      let dense = a.isDense(order) ? a : copied(a, to: order, .float32, name: graph[left].name)
      a = View(
        buffer: dense.buffer, offset: dense.offset, shape: [rows, a.shape[-1]], strides: [a.shape[-1], 1],
        storage: .float32)
      target = [rows, b.shape[1]]
    }
    let rank = max(a.shape.rank, b.shape.rank)
    a = a.aligned(to: rank)
    b = b.aligned(to: rank)
    var result = allocate(target, .logical(rank: target.rank), .float32)
    result = result.aligned(to: rank)
    let product = Product(
      source: a, weights: b, constant: constant?.reshaped(to: b.shape), result: result, bias: nil, value: value)
    _ = try addProduct(product, [PostOperations()], [])
    result.shape = graph.shape(value)
    result.strides = result.shape.strides
    define(value, result)
  }

  // MARK: Products

  /// One matrix product as a primitive sees it.
  private struct Product {
    var source: View
    var weights: View
    /// The weights when they are constant: packed once.
    var constant: Tensor?
    var result: View
    var bias: View?
    var value: ValueID
  }

  private func addProduct(
    _ product: Product, _ candidates: [PostOperations], _ nodes: [Int]
  ) throws(ComputeError) -> Int {
    if let done = addPacked(product, candidates, nodes) { return done }
    let (primitive, post) = try best(candidates) { (post) throws(ComputeError) in
      try Primitive.matmul(
        source: product.source, weights: product.weights, packsWeights: product.constant != nil,
        destination: product.result, bias: product.bias, post.operations, engine)
    }
    let done = nodes.prefix(1 + post.nodeCount)
    let last = done.last.map { graph.nodes[$0].outputs[0] } ?? product.value
    let kinds = done.map { graph.nodes[$0].operation.kernelName }
    let weights =
      product.constant.map { tensor in
        Weights(packed: PackableWeights(count: tensor.shape.elementCount) { tensor.floats })
          .view(for: primitive, in: self)
      } ?? product.weights
    addPrimitive(
      primitive,
      record: record(
        last, kinds.isEmpty ? "matmul" : kinds.joined(separator: "+"), implementation: primitive.implementation,
        operations: 2 * product.result.shape.elementCount * product.source.shape[-1]),
      source: product.source, weights: weights, bias: product.bias, result: post.accumulated ?? product.result,
      post: post)
    if !nodes.isEmpty { define(last, post.accumulated ?? product.result) }
    return done.count
  }

  /// The product by the kernel of our own, where rows are dense and the weights constant.
  private func addPacked(_ product: Product, _ candidates: [PostOperations], _ nodes: [Int]) -> Int? {
    let (rows, depth) = (product.source.shape[0], product.source.shape[-1])
    guard catena_panels_are_fast(), let constant = product.constant, product.source.shape.rank == 2,
      product.source.strides == [depth, 1], let post = candidates.first(where: \.isDoneByPackedKernels)
    else { return nil }
    let columns = constant.shape[1]
    let kernel = PackedKernel(
      catena_implicit_gemm(rows: rows, depth: depth, columns: columns), threads: Int32(threads))
    let done = nodes.prefix(1 + post.nodeCount)
    let last = done.last.map { graph.nodes[$0].outputs[0] } ?? product.value
    let result = post.accumulated ?? product.result
    addPacked(
      kernel,
      record(
        last, nodes.isEmpty ? "matmul" : kernelName(of: done), implementation: kernel.implementation,
        operations: 2 * rows * depth * columns),
      source: product.source, weights: { constant.transposed().floats }, bias: product.bias, result: result,
      post: post)
    if !nodes.isEmpty { define(last, result) }
    return done.count
  }

  /// A factor of a Gemm, walked transposed where the Gemm says so.
  private func matrix(_ value: ValueID, isTransposed: Bool) -> View {
    var view = matmulOperand(view32(value), isLeft: true)
    if isTransposed {
      view.shape = [view.shape[1], view.shape[0]]
      view.strides.swapAt(0, 1)
    }
    return view
  }

  /// A value as f32, lying as it does.
  private func view32(_ value: ValueID) -> View {
    let view = view(value)
    return view.storage == .float32 ? view : dense(value, view.isDense ? view.layout : .logical(rank: view.shape.rank))
  }

  /// A factor whose rows or columns are contiguous, with at least two axes.
  private func matmulOperand(_ view: View, isLeft: Bool) -> View {
    var view = view
    if view.shape.rank == 1 {
      let (count, step) = (view.shape[0], view.strides[0])
      view.shape = isLeft ? [1, count] : [count, 1]
      view.strides = isLeft ? [max(1, count * step), step] : [step, 1]
    }
    let rank = view.shape.rank
    let (row, column) = (view.strides[rank - 2], view.strides[rank - 1])
    let isReadable =
      view.strides.allSatisfy { $0 > 0 } && (column == 1 || row == 1) && max(row, column) >= 1
      && (column == 1 ? row >= view.shape[-1] : column >= view.shape[-2])
    return isReadable ? view : copied(view, to: .logical(rank: rank), .float32, name: "factor")
  }

  /// A Gemm's third operand as a primitive's bias: one number per column, already multiplied by beta.
  private func rowBias(_ value: ValueID, _ gemm: Gemm, columns: Int) -> View? {
    let shape = graph.shape(value)
    guard shape.elementCount == columns, shape.rank > 0, shape[-1] == columns else { return nil }
    if let tensor = graph.constants[value] {
      let scaled = tensor.doubles.map { $0 * Double(gemm.beta) }
      return constant(
        Tensor(doubles: scaled, shape: [1, columns], elementType: .float32), .logical(rank: 2), .float32)
    }
    guard gemm.beta == 1 else { return nil }
    var view = logical(value)
    view.shape = [1, columns]
    view.strides = [columns, 1]
    return view
  }

  /// alpha * product + beta * C
  private func addScaled(_ gemm: Gemm, _ node: Node, _ product: View) {
    let value = node.outputs[0]
    var program = ElementwiseProgram(shape: product.shape, isInteger: false)
    let source = program.addOperand(product, CATENA_READ)
    let addend = node.inputs.count > 2 ? view(node.inputs[2]).broadcast(to: product.shape) : nil
    let third = addend.map { program.addOperand($0, CATENA_READ) }
    let result = allocate(product.shape, .logical(rank: 2), .float32)
    let destination = program.addOperand(result, CATENA_WRITE)
    if let third {
      let scaled = program.addRegister()
      let sum = program.addRegister()
      program.append(CATENA_AFFINE, scaled, source, a: gemm.alpha)
      program.append(CATENA_AFFINE, sum, third, a: gemm.beta)
      program.append(CATENA_ADD, destination, scaled, sum)
    } else {
      program.append(CATENA_AFFINE, destination, source, a: gemm.alpha)
    }
    addElementwise(program, name: graph[value].name, kind: "scale", shape: product.shape)
    define(value, result)
  }
}

extension View {
  /// The same with axes of one element in front.
  fileprivate func aligned(to rank: Int) -> View {
    var result = self
    let missing = rank - shape.rank
    let outer = shape.rank > 0 ? shape[0] * strides[0] : 1
    result.shape = Shape([Int](repeating: 1, count: missing) + shape.dimensions)
    result.strides = [Int](repeating: max(outer, 1), count: missing) + strides
    return result
  }
}

extension Tensor {
  /// A matrix with rows and columns exchanged.
  fileprivate func transposed() -> Tensor {
    let (rows, columns) = (shape[0], shape[1])
    let values = floats
    var result = [Float](repeating: 0, count: values.count)
    for row in 0..<rows {
      for column in 0..<columns { result[column * rows + row] = values[row * columns + column] }
    }
    return Tensor(result, shape: [columns, rows])
  }
}
