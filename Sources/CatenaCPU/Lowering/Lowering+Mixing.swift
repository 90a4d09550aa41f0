import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// What is done on a primitive's results before they are stored.
struct PostOperations {
  var operations: [catena_post_operation] = []
  /// One per operation, `nil` where it takes none.
  var operands: [View?] = []
  /// The tensor whose memory the results replace, when they are added to it.
  var accumulated: View?
  /// Parts of the batch with a gate row of their own.
  var regions = 1
  /// Nodes that are done.
  var nodeCount = 0
}

extension Lowering {
  /// Lowers a mixing operator and as much of what follows it as a generated primitive can do; the rest becomes one
  /// element-wise pass.
  func lowerMixing(_ nodes: [Int]) throws(ComputeError) {
    let first = graph.nodes[nodes[0]]
    let done: Int
    switch first.operation {
    case .convolution(let convolution):
      done = try lowerConvolution(ConvolutionProblem(first, convolution, graph), nodes)
    case .convolutionTranspose(let transpose):
      done = try lowerConvolution(ConvolutionProblem(first, transpose, graph), nodes)
    case .gemm(let gemm): done = try lowerGemm(gemm, nodes)
    default: preconditionFailure("\(first.operation.name) mixes no channels")
    }
    let rest = Array(nodes.dropFirst(done))
    for part in elementwiseParts(rest) { lowerElementwise(part) }
  }

  /// What is left, in passes that element-wise lowering can do at once.
  private func elementwiseParts(_ nodes: [Int]) -> [[Int]] {
    var parts: [[Int]] = []
    for node in nodes {
      let regions = Set(((parts.last ?? []) + [node]).compactMap { graph.regions(graph.nodes[$0]) })
      if parts.isEmpty || regions.count > 1 {
        parts.append([node])
      } else {
        parts[parts.count - 1].append(node)
      }
    }
    return parts
  }

  /// The ways to do nodes behind `value` in its primitive, those that do most first; a residual is added in place where
  /// nobody else reads it any more, the primitive's other operands among them.
  func postOperationCandidates(_ nodes: ArraySlice<Int>, behind value: ValueID) -> [PostOperations] {
    var candidates = [PostOperations()]
    var value = value
    var ways = candidates
    for index in nodes {
      ways = ways.flatMap { extended($0, by: index, behind: value) }
      if ways.isEmpty { break }
      candidates += ways.reversed()
      value = graph.nodes[index].outputs[0]
    }
    return candidates.reversed()
  }

  /// The ways to do one node more; none when no primitive can.
  private func extended(
    _ way: PostOperations, by index: Int, behind value: ValueID
  ) -> [PostOperations] {
    let node = graph.nodes[index]
    var way = way
    way.nodeCount += 1
    switch node.operation {
    case .unary(let function):
      guard let operation = function.postOperation else { return [] }
      way.append(operation, nil)
    case .gate:
      // Rows may lie apart, as columns of all gates do: every region has a pointer of its own.
      let rows = view(node.inputs[1])
      let isReadable = rows.storage == .float32 && (rows.strides[1] == 1 || rows.shape[1] == 1)
      let gate = isReadable ? rows : logical(node.inputs[1])
      guard way.regions == 1 || way.regions == gate.shape[0] else { return [] }
      way.regions = max(way.regions, gate.shape[0])
      way.append(catena_post_operation(kind: CATENA_POST_MULTIPLY_CHANNEL), gate)
    case .binary(.add):
      guard node.inputs[0] != node.inputs[1] else { return [] }
      let residual = node.inputs[node.inputs[0] == value ? 1 : 0]
      // Element-wise passes read what primitives would need a copy of.
      guard views[residual]?.map == nil else { return [] }
      let view = dense(
        residual, .channelsLast(rank: graph.shape(residual).rank), storage(node.outputs[0]))
      var sum = way
      sum.append(catena_post_operation(kind: CATENA_POST_SUM), nil)
      sum.accumulated = view
      way.append(catena_post_operation(kind: CATENA_POST_ADD_TENSOR), view)
      let isOwn = view.buffer == views[residual]?.buffer && view.offset == 0 && isWholeBuffer(view)
      return isOwn && dies(residual, readIn: index) ? [sum, way] : [way]
    default: return []
    }
    return [way]
  }

  private func isWholeBuffer(_ view: View) -> Bool {
    plan.buffers[view.buffer.index].bytes == view.shape.elementCount * view.storage.byteCount
  }
}

extension PostOperations {
  mutating func append(_ operation: catena_post_operation, _ operand: View?) {
    operations.append(operation)
    operands.append(operand)
  }
}

extension catena_post_operation {
  init(kind: catena_post_kind) { self.init(kind: kind, function: CATENA_ELTWISE_RELU, alpha: 0, beta: 0) }
}
