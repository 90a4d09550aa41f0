import CatenaAutodiff
import CatenaFormats
import CatenaGraph

extension ChainNetwork {
  /// The physical sub-network of a chain in binary mode.
  /// - Parameter explains: Whether the record says why dead channels stay, and what goes because nobody reads it.
  public func sliced(keeping units: [Bool], blocks: [Bool], explains: Bool = true) throws(GraphError) -> SlicedGraph {
    let dead = zeroedChannels(keeping: units, blocks: blocks)
    return try graph.sliced(dead.channels, values: dead.values, explains: explains)
  }

  /// The channels and branches that a chain leaves out.
  package func zeroedChannels(keeping units: [Bool], blocks: [Bool]) -> (channels: [ZeroedChannels], values: [ValueID])
  {
    let channels = zip(sites.layers, sites.unitOffsets).compactMap { layer, offset -> ZeroedChannels? in
      let dead = (0..<layer.count).filter { !units[offset + $0] }
      return dead.isEmpty ? nil : ZeroedChannels(value: layer.value, axis: layer.axis, indices: dead)
    }
    return (channels, zip(sites.blocks, blocks).filter { !$0.1 }.map(\.0.branch))
  }
}

extension Graph {
  /// Elements of all floating-point constants that nodes read.
  public var parameterCount: Int {
    pruned().constants.values.filter(\.elementType.isFloatingPoint).map(\.elementCount).reduce(0, +)
  }

  /// Multiplications with additions of convolutions and matrix products in one run.
  public var multiplyAddCount: Int {
    nodes.map { node in
      let output = shape(node.outputs[0])
      switch node.operation {
      case .convolution:
        return output.elementCount * shape(node.inputs[1]).count(of: 1..<output.rank)
      case .convolutionTranspose:
        return shape(node.inputs[0]).elementCount * shape(node.inputs[1]).count(of: 1..<output.rank)
      case .gemm(let gemm):
        return output.elementCount * shape(node.inputs[0])[gemm.transposeA ? 0 : 1]
      case .matmul: return output.elementCount * shape(node.inputs[0])[-1]
      default: return 0
      }
    }.reduce(0, +)
  }
}
