import CatenaGraph
import CatenaTensors

extension OperatorImport {
  /// Pools.
  static let windows: [OperatorImport] = [
    OperatorImport("MaxPool", .floats, note: "the first output only") { importer, node throws(NodeFailure) in
      if node.wants(1) { throw .unsupported("its output 1 (Indices) is not supported") }
      return try importer.pool(.maximum, node)
    },
    OperatorImport(
      "AveragePool", .floats,
      note: "not a dilated window that counts the padding and reaches beyond it (ceil_mode): runtimes disagree"
    ) { importer, node throws(NodeFailure) in
      let includes = try node.flag("count_include_pad")
      return try importer.pool(.average(countIncludesPadding: includes), node)
    },
    OperatorImport("LpPool", .floats) { importer, node throws(NodeFailure) in
      try importer.pool(.norm(p: exponent(node)), node)
    },
    OperatorImport("GlobalMaxPool", .floats) { importer, node throws(NodeFailure) in
      try importer.globalPool(.maximum, node)
    },
    OperatorImport("GlobalAveragePool", .floats) { importer, node throws(NodeFailure) in
      try importer.globalPool(.average(countIncludesPadding: false), node)
    },
    OperatorImport("GlobalLpPool", .floats) { importer, node throws(NodeFailure) in
      try importer.globalPool(.norm(p: exponent(node)), node)
    },
  ]
}

private func exponent(_ node: ImportedNode) throws(NodeFailure) -> Int {
  let p = try node.int("p", default: 2)
  guard (1...1024).contains(p) else { throw .invalid("p is \(p)") }
  return p
}

extension GraphImporter {
  fileprivate mutating func pool(_ kind: Pool.Kind, _ node: ImportedNode) throws(NodeFailure) -> [ValueID] {
    let operands = try operands(node, count: 1)
    let data = shape(operands[0])
    try requireRank(data, atLeast: 3, "data")
    guard let kernel = try node.ints("kernel_shape") else { throw .invalid("kernel_shape is missing") }
    let window = try Window(node, data: Array(data.dimensions[2...]), kernel: kernel)
    let pool = Pool(
      kind, kernel: kernel, strides: window.strides, padsBegin: window.padsBegin, padsEnd: window.padsEnd,
      dilations: window.dilations, ceilMode: try node.flag("ceil_mode"))
    let result = try emit(.pool(pool), operands, node)
    if case .average(countIncludesPadding: true) = kind, pool.ceilMode, pool.dilations.contains(where: { $0 > 1 }),
      reachesBeyondPadding(pool, data: data, result: shape(result[0]))
    {
      throw .unsupported("a dilated window that counts the padding reaches beyond it (ceil_mode): runtimes disagree")
    }
    return result
  }

  fileprivate mutating func globalPool(_ kind: Pool.Kind, _ node: ImportedNode) throws(NodeFailure) -> [ValueID] {
    let operands = try operands(node, count: 1)
    let data = shape(operands[0])
    try requireRank(data, atLeast: 3, "data")
    let kernel = Array(data.dimensions[2...])
    let ones = [Int](repeating: 1, count: kernel.count)
    let zeros = [Int](repeating: 0, count: kernel.count)
    let pool = Pool(kind, kernel: kernel, strides: ones, padsBegin: zeros, padsEnd: zeros, dilations: ones)
    return try emit(.pool(pool), operands, node)
  }
}

private func reachesBeyondPadding(_ pool: Pool, data: Shape, result: Shape) -> Bool {
  pool.kernel.indices.contains { axis in
    let span = (pool.kernel[axis] - 1) * pool.dilations[axis] + 1
    let end = (result[axis + 2] - 1) * pool.strides[axis] + span
    return end > data[axis + 2] + pool.padsBegin[axis] + pool.padsEnd[axis]
  }
}
