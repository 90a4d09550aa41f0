import CatenaFormats
import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import TestSupport
import Testing

@Suite("Sliced models as ONNX")
struct ONNXSlicingTests {
  /// Convolution, split, concatenation, slice, pad, depthwise convolution, literal and computed reshapes, Gemm.
  static func network(opset: Int, irVersion: Int64 = 7) throws -> ONNXModel {
    var builder = ModelBuilder(opset: opset)
    builder.proto.irVersion = irVersion
    builder.proto.producerName = "a trainer"
    builder.input("x", [-1, 3, 8, 8])
    builder.output("y", [-1, 10])
    builder.constant("w1", randomTensor([8, 3, 3, 3], seed: 1))
    builder.constant("b1", randomTensor([8], seed: 2))
    builder.constant("w2", randomTensor([8, 1, 3, 3], seed: 3))
    builder.constant("w3", randomTensor([10, 8], seed: 4))
    builder.constant("b3", randomTensor([10], seed: 5))
    builder.node("Conv", ["x", "w1", "b1"], ["conv1"], [.ints("pads", [1, 1, 1, 1])])
    builder.node("Relu", ["conv1"], ["relu"])
    if opset < 13 {
      builder.node("Split", ["relu"], ["first", "second"], [.int("axis", 1), .ints("split", [4, 4])])
    } else {
      builder.integers("halves", [4, 4])
      builder.node("Split", ["relu", "halves"], ["first", "second"], [.int("axis", 1)])
    }
    builder.node("Concat", ["second", "first"], ["joined"], [.int("axis", 1)])
    if opset < 10 {
      builder.node(
        "Slice", ["joined"], ["cut"], [.ints("starts", [2]), .ints("ends", [8]), .ints("axes", [1])])
    } else {
      builder.integers("two", [2])
      builder.integers("eight", [8])
      builder.integers("one", [1])
      builder.node("Slice", ["joined", "two", "eight", "one"], ["cut"])
    }
    if opset < 11 {
      builder.node("Pad", ["cut"], ["padded"], [.ints("pads", [0, 1, 0, 0, 0, 1, 0, 0])])
    } else {
      builder.integers("amounts", [0, 1, 0, 0, 0, 1, 0, 0])
      builder.node("Pad", ["cut", "amounts"], ["padded"])
    }
    builder.node("Conv", ["padded", "w2"], ["depthwise"], [.int("group", 8), .ints("pads", [1, 1, 1, 1])])
    builder.integers("rows", [0, 8, 64])
    builder.node("Reshape", ["depthwise", "rows"], ["flat"])
    builder.node("ReduceMean", ["flat"], ["means"], [.ints("axes", [2])])
    // [batch, -1], computed from the input's shape.
    builder.node("Shape", ["x"], ["extents"])
    builder.integers("zero", [0])
    builder.integers("rest", [-1])
    builder.node("Gather", ["extents", "zero"], ["batch"])
    builder.node("Concat", ["batch", "rest"], ["target"], [.int("axis", 0)])
    builder.node("Reshape", ["means", "target"], ["matrix"])
    builder.node("Gemm", ["matrix", "w3", "b3"], ["logits"], [.int("transB", 1)])
    builder.node("Relu", ["logits"], ["y"])
    return try builder.model()
  }

  /// The network without the filters 4 and 7, with a factor per channel behind the first Relu and without the last.
  static func derived(_ graph: Graph) throws -> Graph {
    let kept = [0, 1, 2, 3, 5, 6]
    let read = [0, 1, 3, 4, 5, 6, 7]
    let operations: [String: CatenaGraph.Operator] = [
      "first": .split(axis: 1, sizes: [4, 2]),
      "cut": .slice(Slice(starts: [0, 1, 0, 0], sizes: [2, 5, 8, 8], steps: [1, 1, 1, 1])),
      "depthwise": .convolution(
        Convolution(strides: [1, 1], padsBegin: [1, 1], padsEnd: [1, 1], dilations: [1, 1], groups: 7)),
      "flat": .reshape([2, 7, 64]), "matrix": .reshape([2, 7]),
    ]
    let constants: [String: (Int, [Int])] = ["w1": (0, kept), "b1": (0, kept), "w2": (0, read), "w3": (1, read)]
    var result = graph
    let factors = result.addConstant("factors", randomTensor([1, 6, 1, 1], seed: 9))
    let relu = try #require(graph.nodes.first { graph[$0.outputs[0]].name == "relu" }).outputs[0]
    var nodes: [Node] = []
    var tensors = result.constants
    var types: ValueMap<TensorType> = [:]
    for (id, tensor) in graph.constants {
      guard let (axis, indices) = constants[graph[id].name] else { continue }
      let chosen = Tensor(indices.map(Int64.init), shape: [indices.count])
      let part = try Reference.evaluate(.gather(axis: axis), [tensor, chosen])[0]
      tensors[id] = part
      types[id] = TensorType(part.elementType, part.shape)
    }
    var scaled: ValueID?
    for node in graph.nodes where graph[node.outputs[0]].name != "y" {
      var node = node
      node.operation = operations[graph[node.outputs[0]].name] ?? node.operation
      node.inputs = node.inputs.map { $0 == relu ? scaled ?? $0 : $0 }
      let made = try node.operation.outputTypes(of: node.inputs.map { types[$0] ?? result.type($0) })
      for (output, type) in zip(node.outputs, made) { types[output] = type }
      nodes.append(node)
      guard node.outputs == [relu] else { continue }
      result.rebuild(nodes: nodes, constants: tensors, types: types)
      scaled = try result.add(.binary(.multiply), relu, factors, name: "scaled")
      nodes = result.nodes
    }
    result.rebuild(nodes: nodes, constants: tensors, types: types)
    let logits = try #require(nodes.last).outputs[0]
    result.outputs = [logits]
    result = result.pruned()
    try result.checkInvariants()
    return result
  }

  @Test("says what the derived graph says, at any batch", arguments: [9, 10, 11, 13, 17])
  func equalsDerivedGraph(opset: Int) throws {
    let model = try Self.network(opset: opset, irVersion: opset == 9 ? 3 : 7)
    let graph = try model.graph(batch: 2)
    let derived = try Self.derived(graph)
    let written = try ONNXModel(data: model.sliced(to: derived, from: graph).serialized())
    let data = randomTensor([2, 3, 8, 8], seed: 11)
    let expected = try run(derived, data)
    #expect(try run(written.graph(batch: 2), data).isBitIdentical(to: expected))
    for sample in 0..<2 {
      let part = try Reference.evaluate(.slice(Slice(sample..<sample + 1, axis: 0, of: data.shape)), [data])[0]
      let row = try Reference.evaluate(.slice(Slice(sample..<sample + 1, axis: 0, of: [2, 10])), [expected])[0]
      #expect(try run(written.graph(batch: 1), part).isBitIdentical(to: row))
    }
    #expect(written.opset == model.opset)
    #expect(written.outputs == model.outputs)
    #expect(written.proto.producerName == "a trainer")
    // The file's nodes keep their order and names.
    let names = model.proto.graph.node.map(\.name)
    let kept = written.proto.graph.node.map(\.name).filter(names.contains)
    #expect(kept == names.filter(kept.contains))
    #expect(written.initializers["w1"]?.shape == [6, 3, 3, 3])
    #expect(written.initializers["b3"]?.isBitIdentical(to: try #require(model.initializers["b3"])) == true)
    if let folder = ProcessInfo.processInfo.environment["CATENA_KEEP_ONNX"] {
      try written.write(to: "\(folder)/sliced-\(opset).onnx")
    }
  }

  @Test("an unchanged graph gives the same network")
  func unchanged() throws {
    let model = try Self.network(opset: 13)
    let graph = try model.graph(batch: 2)
    let written = try model.sliced(to: graph, from: graph)
    #expect(written.proto.graph.node == model.proto.graph.node)
    #expect(written.proto.graph.initializer.map(\.name) == model.proto.graph.initializer.map(\.name))
  }

  @Test("a change that no node can state is refused by name")
  func refused() throws {
    let model = try Self.network(opset: 13)
    let graph = try model.graph(batch: 2)
    var changed = graph
    let nodes = graph.nodes.map { node in
      var node = node
      if case .transpose = node.operation { return node }
      if case .unary(.relu) = node.operation { node.operation = .unary(.sigmoid) }
      return node
    }
    changed.rebuild(nodes: nodes, constants: graph.constants)
    #expect {
      try model.sliced(to: changed, from: graph)
    } throws: { error in
      "\(error)".contains("'relu' (Relu, opset 13)") && "\(error)".contains("sigmoid")
    }
  }

  @Test("a graph without a file is written as a model", arguments: [13, 17, 20])
  func exports(opset: Int) throws {
    let graph = try Self.network(opset: 13).graph(batch: 2)
    let exported = try ONNXModel(data: ONNXModel(exporting: graph, opset: opset).serialized())
    let data = randomTensor([2, 3, 8, 8], seed: 12)
    #expect(try run(exported.graph(batch: 2), data).isBitIdentical(to: run(graph, data)))
    if let folder = ProcessInfo.processInfo.environment["CATENA_KEEP_ONNX"] {
      try exported.write(to: "\(folder)/exported-\(opset).onnx")
    }
  }

  @Test(
    "real networks are written as they were read", .enabled(if: Assets.root.isPresent, "\(Assets.root.reason)"),
    arguments: ["cifar10_resnet20", "cifar10_vit_b1", "mobilenet_v2_1.0_224_dequant", "vit_ibp_3_3_8"])
  func realNetworks(file: String) throws {
    let model = try ONNXModel(contentsOf: #require(Assets.asset("models/\(file).onnx").url).path)
    let graph = try model.graph(batch: model.fixedBatch ?? 2)
    let written = try model.sliced(to: graph, from: graph)
    #expect(written.proto.graph.node == model.proto.graph.node)
    if let folder = ProcessInfo.processInfo.environment["CATENA_KEEP_ONNX"] {
      try written.write(to: "\(folder)/\(file).onnx")
      try ONNXModel(exporting: graph).write(to: "\(folder)/\(file)-exported.onnx")
    }
  }

  private func run(_ graph: Graph, _ data: Tensor) throws -> Tensor {
    let results = try Reference.run(graph, inputs: [graph.inputs[0]: data], precision: .declared)
    return try #require(results[graph.outputs[0]])
  }
}
