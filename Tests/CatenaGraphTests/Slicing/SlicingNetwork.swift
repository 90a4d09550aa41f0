import CatenaGraph
import CatenaReference
import CatenaTensors
import Foundation
import Testing

/// A small network with seeded weights, the zeroing points of its units, and the check that slicing it is exact.
struct SlicingNetwork {
  var graph = Graph()
  var random: SeededGenerator
  /// The zeroing points: a value and the axis of its channels.
  var units: [(value: ValueID, axis: Int)] = []

  init(seed: Int) { random = SeededGenerator(seed: UInt64(seed)) }

  // MARK: Building

  mutating func input(_ dimensions: Int...) -> ValueID {
    graph.addInput("x", TensorType(.float32, Shape(dimensions)))
  }

  mutating func constant(_ name: String, _ shape: Shape, low: Double = -1, high: Double = 1) -> ValueID {
    let values = (0..<shape.elementCount).map { _ in low + (high - low) * random.uniform() }
    return graph.addConstant(
      "\(name)\(graph.values.count)", Tensor(doubles: values, shape: shape, elementType: .float32))
  }

  /// A convolution that keeps the spatial extents, but for the stride.
  mutating func convolution(
    _ x: ValueID, _ filters: Int, kernel: Int = 3, stride: Int = 1, groups: Int = 1, bias: Bool = true
  ) throws -> ValueID {
    let shape = graph.shape(x)
    let rank = shape.rank - 2
    let kernels = [Int](repeating: kernel, count: rank)
    let pads = [Int](repeating: kernel / 2, count: rank)
    let weight = constant("weight", Shape([filters, shape[1] / groups] + kernels))
    return try convolution(x, weight: weight, strides: stride, pads: pads, groups: groups, bias: bias)
  }

  mutating func convolution(
    _ x: ValueID, weight: ValueID, strides: Int = 1, pads: [Int], groups: Int = 1, bias: Bool = true
  ) throws -> ValueID {
    let ones = [Int](repeating: 1, count: pads.count)
    let geometry = Convolution(
      strides: ones.map { $0 * strides }, padsBegin: pads, padsEnd: pads, dilations: ones, groups: groups)
    var inputs = [x, weight]
    if bias { inputs.append(constant("bias", [graph.shape(weight)[0]])) }
    return try graph.add(.convolution(geometry), inputs: inputs)[0]
  }

  mutating func batchNormalization(_ x: ValueID) throws -> ValueID {
    let channels: Shape = [graph.shape(x)[1]]
    let parameters = [
      constant("scale", channels, low: 0.5, high: 1.5), constant("shift", channels), constant("mean", channels),
      constant("variance", channels, low: 0.5, high: 2),
    ]
    return try graph.add(.batchNormalization(epsilon: 1e-5), inputs: [x] + parameters)[0]
  }

  mutating func unary(_ function: UnaryFunction, _ x: ValueID) throws -> ValueID {
    try graph.add(.unary(function), x)
  }

  mutating func relu(_ x: ValueID) throws -> ValueID { try unary(.relu, x) }

  mutating func binary(_ function: BinaryFunction, _ left: ValueID, _ right: ValueID) throws -> ValueID {
    try graph.add(.binary(function), left, right)
  }

  mutating func gemm(_ x: ValueID, _ columns: Int) throws -> ValueID {
    let weight = constant("weight", [columns, graph.shape(x)[1]])
    return try graph.add(.gemm(Gemm(transposeB: true)), x, weight, constant("bias", [columns]))
  }

  mutating func pool(_ kind: Pool.Kind, _ x: ValueID, _ extent: Int = 2) throws -> ValueID {
    let rank = graph.shape(x).rank - 2
    func all(_ value: Int) -> [Int] { [Int](repeating: value, count: rank) }
    return try graph.add(
      .pool(
        Pool(kind, kernel: all(extent), strides: all(extent), padsBegin: all(0), padsEnd: all(0), dilations: all(1))), x
    )
  }

  mutating func spatialMean(_ x: ValueID) throws -> ValueID {
    try graph.add(
      .reduce(Reduce(.mean, axes: Array(2..<graph.shape(x).rank), keepsDimensions: true)), x)
  }

  mutating func flatten(_ x: ValueID) throws -> ValueID {
    let shape = graph.shape(x)
    return try graph.add(.reshape([shape[0], shape.count(of: 1..<shape.rank)]), x)
  }

  /// Global pooling and a linear classifier, whose result is the network's output.
  mutating func classify(_ x: ValueID) throws {
    let features = try flatten(spatialMean(x))
    graph.outputs = [try gemm(features, 4)]
  }

  /// Marks a zeroing point.
  mutating func unit(_ x: ValueID, axis: Int = 1) -> ValueID {
    units.append((x, axis))
    return x
  }

  // MARK: Checking

  /// Random dead channels at every zeroing point: none, few, half, most or all of them.
  mutating func randomDeadChannels() -> [ZeroedChannels] {
    units.map { unit in
      let share = [0, 0.2, 0.5, 0.8, 1][Int(random.uniform() * 5)]
      let extent = graph.shape(unit.value)[unit.axis]
      return ZeroedChannels(
        value: unit.value, axis: unit.axis, indices: (0..<extent).filter { _ in random.uniform() < share })
    }
  }

  /// Whether some zeroing point keeps nothing: what is behind it may then be constant, or zero, and be cut as well.
  func hasDeadLayer(_ dead: [ZeroedChannels]) -> Bool {
    dead.contains { $0.indices.count == graph.shape($0.value)[$0.axis] }
  }

  /// Slices at random and checks.
  mutating func checkAtRandom() throws { try check(randomDeadChannels()) }

  /// Slices and checks: the masked graph's outputs, valid types, constants that follow from the record alone.
  @discardableResult
  mutating func check(_ dead: [ZeroedChannels], values: [ValueID] = []) throws -> SlicedGraph {
    let masked = try graph.zeroing(dead, values: values)
    try masked.checkInvariants()
    let sliced = try graph.sliced(dead, values: values)
    try sliced.graph.checkInvariants()
    var inputs: ValueMap<Tensor> = [:]
    for input in graph.inputs {
      let shape = graph.shape(input)
      inputs[input] = Tensor((0..<shape.elementCount).map { _ in 2 * random.uniform() - 1 }, shape: shape)
    }
    let expected = try Reference.run(masked, inputs: inputs, precision: .double)
    let found = try Reference.run(sliced.graph, inputs: inputs, precision: .double)
    for (left, right) in zip(masked.outputs, sliced.graph.outputs) {
      let (wanted, made) = (expected[left]!, found[right]!)
      #expect(wanted.shape == made.shape)
      let scale = wanted.doubles.map(abs).max() ?? 1
      for (wanted, made) in zip(wanted.doubles, made.doubles) {
        #expect(abs(wanted - made) <= 1e-9 * max(scale, 1), "dead: \(dead)")
      }
    }
    try checkRecord(sliced)
    return sliced
  }

  /// Every constant follows from the original and the stored record, element by element.
  private func checkRecord(_ sliced: SlicedGraph) throws {
    let record = try JSONDecoder().decode(SliceRecord.self, from: JSONEncoder().encode(sliced.record))
    #expect(record == sliced.record)
    let described = ValueSet(record.constants.map(\.result)).union(record.factors.map(\.factor))
    #expect(described == ValueSet(sliced.graph.constants.keys))
    for slice in record.constants {
      let original = graph.constants[slice.original]!
      let result = sliced.graph.constants[slice.result]!
      #expect(slice.applied(to: original).isBitIdentical(to: result))
      #expect(isTraceable(slice, original, result), "\(graph[slice.original].name)")
    }
  }

  /// The record's meaning, written out: an element is the original's at the mapped index, or a listed zero.
  private func isTraceable(_ slice: ConstantSlice, _ original: Tensor, _ result: Tensor) -> Bool {
    if let renumbered = slice.renumbered { return result.integers == renumbered }
    let (source, target) = (original.doubles, result.doubles)
    return target.indices.allSatisfy { flat in
      var isZero = false
      var place = 0
      let row = result.shape.rank > 0 ? flat / result.shape.strides[0] : 0
      for axis in 0..<result.shape.rank {
        let position = flat / result.shape.strides[axis] % result.shape[axis]
        var index = slice.kept[axis]?[position] ?? position
        if axis == 1, let groups = slice.keptByGroup {
          index = groups[row * groups.count / result.shape[0]][position]
        }
        if slice.zeros[axis].contains(index) { isZero = true }
        place += index * original.shape.strides[axis]
      }
      return target[flat] == (isZero ? 0 : source[place])
    }
  }
}

/// The seeds of random checks.
let slicingSeeds = Array(0..<12)
