import ArgumentParser
import Catena

struct InspectCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Shows a network's layers, units, parameters and operations, and what is unsupported, node by node.",
    discussion: """
      Examples:
        catena inspect model.onnx
        catena inspect model.onnx --nodes
        catena inspect model.onnx --json

      Exits with 65 when nodes are not supported, naming all of them and what is \
      supported; 'catena operators' lists everything that is.
      """)

  @Argument(help: "An ONNX file.", completion: .file(extensions: ["onnx"]))
  var model: String

  @Flag(help: "Print JSON.")
  var json = false

  @Flag(help: "List every node with its shapes.")
  var nodes = false

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try command.inspect() }
  }

  private func inspect() throws {
    let network = try ONNXModel(contentsOf: model)
    let report: InspectionReport
    do {
      report = try InspectionReport(network)
    } catch ONNXError.unsupported(let nodes) where json {
      try Output.json(UnsupportedReport(nodes))
      throw ONNXError.unsupported(nodes)
    }
    if json { return try Output.json(report) }
    try Output.line(report.summary)
    if !report.layers.isEmpty {
      try Output.line()
      try Output.line(
        Output.table(
          ["layer", "units", "block", "shape"],
          report.layers.map { [$0.name, "\($0.units)", $0.block ?? "", $0.shape] }))
    }
    if nodes {
      try Output.line()
      try Output.line(
        Output.table(
          ["node", "operator", "output"], report.nodes.map { [$0.name, $0.operation, $0.shape] }))
    }
  }
}

/// What `inspect` says.
private struct InspectionReport: Encodable {
  struct Layer: Encodable {
    var name: String
    var units: Int
    var block: String?
    var shape: String
  }
  struct NodeLine: Encodable {
    var name: String
    var operation: String
    var shape: String
  }
  var sha256: String
  var opset: Int
  var input: String
  var output: String
  var fixedBatch: Int?
  var parameters: Int
  var multiplyAdds: Int
  var units: Int
  var blocks: Int
  var layers: [Layer]
  var nodes: [NodeLine]

  init(_ model: ONNXModel) throws {
    let batch = model.fixedBatch ?? 1
    let graph = try model.graph(batch: batch)
    let sites = graph.gateSites()
    sha256 = model.sha256 ?? ""
    opset = model.opset
    func describe(_ id: ValueID?) -> String {
      id.map { "\(graph[$0].name): \(graph.type($0))" } ?? "none"
    }
    input = graph.inputs.map { describe($0) }.joined(separator: ", ")
    output = graph.outputs.map { describe($0) }.joined(separator: ", ")
    fixedBatch = model.fixedBatch
    parameters = graph.parameterCount
    multiplyAdds = graph.multiplyAddCount / batch
    units = sites.unitCount
    blocks = sites.blocks.count
    layers = sites.layers.map { layer in
      Layer(
        name: layer.name, units: layer.count, block: layer.block.map { sites.blocks[$0].name },
        shape: graph.shape(layer.value).description)
    }
    nodes = graph.nodes.map { node in
      NodeLine(
        name: graph[node.outputs[0]].name, operation: node.operation.name,
        shape: graph.shape(node.outputs[0]).description)
    }
  }

  var summary: String {
    """
    input       \(input)
    output      \(output)
    opset       \(opset)\(fixedBatch.map { ", batch fixed at \($0)" } ?? "")
    parameters  \(parameters)
    operations  \(multiplyAdds) multiply-adds per sample
    units       \(units) in \(layers.count) layers
    blocks      \(blocks)
    sha256      \(sha256)
    """
  }
}

/// What `inspect --json` says of a network that cannot be imported.
private struct UnsupportedReport: Encodable {
  struct Entry: Encodable {
    var index: Int
    var name: String
    var operatorType: String
    var opset: Int
    var reason: String
  }
  var unsupported: [Entry]

  init(_ nodes: [UnsupportedNode]) {
    unsupported = nodes.map { node in
      Entry(
        index: node.node.index, name: node.node.name, operatorType: node.node.operatorType, opset: node.node.opset,
        reason: node.reason)
    }
  }
}
