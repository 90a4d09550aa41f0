import CatenaGraph
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

@Suite("Running and folding graphs")
struct RunTests {
  /// output = cast(data / 3) * weight, with intermediates.
  private func division(through elementType: ElementType) throws -> (Graph, ValueID, ValueID) {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [2]))
    let three = graph.addConstant("three", Tensor([Float(3), 3], shape: [2]))
    let quotient = try graph.add(.binary(.divide), data, three, name: "quotient")
    let cast = try graph.add(.cast(elementType), quotient)
    let output = try graph.add(.cast(.float32), cast, name: "output")
    graph.outputs = [output]
    return (graph, data, output)
  }

  @Test("in double nothing is rounded but casts to half precision; as declared every value is")
  func precision() throws {
    let inputs = Tensor([1.0, 2.0], shape: [2])
    let floats = Tensor([Float(1), 2], shape: [2])
    for (type, rounded) in [(ElementType.float32, 1.0 / 3), (.float16, Double(Float16(1.0 / 3)))] {
      let (graph, data, output) = try division(through: type)
      let double = try Reference.run(graph, inputs: [data: inputs], precision: .double)[output]
      #expect(double?.elementType == .float64)
      #expect(double?.doubles[0] == rounded)
      let declared = try Reference.run(graph, inputs: [data: floats], precision: .declared)[output]
      #expect(declared?.elementType == .float32)
      #expect(declared?.floats[0] == (type == .float32 ? Float(1.0 / 3) : Float(Float16(1.0 / 3))))
    }
  }

  @Test("any value can be asked for")
  func values() throws {
    let (graph, data, output) = try division(through: .float32)
    let quotient = graph.nodes[0].outputs[0]
    let results = try Reference.run(
      graph, inputs: [data: Tensor([3.0, 6], shape: [2])], precision: .double, values: [quotient, data, output])
    #expect(results[quotient]?.doubles == [1, 2])
    #expect(results[data]?.doubles == [3, 6])
    #expect(results[output]?.doubles == [1, 2])
  }

  @Test("a missing or wrong input and a failing node are named")
  func errors() throws {
    let (graph, data, _) = try division(through: .float32)
    func expect(_ reason: String, _ graph: Graph, _ inputs: ValueMap<Tensor>) {
      #expect {
        try Reference.run(graph, inputs: inputs, precision: .declared)
      } throws: { error in
        "\(error)".contains(reason)
      }
    }
    expect("the input data (%0) is not given", graph, [:])
    expect("the input data is float32 2, not float32 3", graph, [data: Tensor(zeros: [3])])
    expect("not int64 2", graph, [data: Tensor(zeros: [2], elementType: .int64)])
    var gathering = Graph()
    let table = gathering.addInput("table", TensorType(.float32, [4]))
    let indices = gathering.addConstant("indices", Tensor([Int64(7)], shape: [1]))
    gathering.outputs = [try gathering.add(.gather(axis: 0), table, indices, name: "looked up")]
    expect("'looked up': gather: index 7 is out of range", gathering, [table: Tensor(zeros: [4])])
  }

  @Test("constants are folded, ids and outputs stay")
  func folding() throws {
    var graph = Graph()
    let data = graph.addInput("data", TensorType(.float32, [2, 3]))
    let one = graph.addConstant("one", Tensor([Float(1)], shape: [1]))
    let two = try graph.add(.binary(.add), one, one)
    let large = try graph.add(.expand([2, 3]), two)
    let sum = try graph.add(.binary(.multiply), data, large)
    graph.outputs = [sum, two]

    let folded = try graph.foldingConstants()
    #expect(folded.nodes.map(\.operation) == [.binary(.multiply)])
    #expect(folded.constants[large]?.floats == [2, 2, 2, 2, 2, 2])
    #expect(folded.constants[two]?.floats == [2])
    #expect(folded.constants[one] == nil)
    #expect(folded.outputs == graph.outputs)
    try folded.checkInvariants()

    let limited = try graph.foldingConstants(maximumElements: 4)
    #expect(limited.nodes.map(\.operation) == [.expand([2, 3]), .binary(.multiply)])
    try limited.checkInvariants()

    let input: ValueMap = [data: randomReals([2, 3], seed: 1)]
    let expected = try Reference.run(graph, inputs: input, precision: .double)
    for other in [folded, limited] {
      let results = try Reference.run(other, inputs: input, precision: .double)
      #expect(results.count == 2)
      for output in graph.outputs { #expect(results[output]?.doubles == expected[output]?.doubles) }
    }
  }

  @Test("a constant node that cannot be evaluated is named")
  func foldingError() throws {
    var graph = Graph()
    let zero = graph.addConstant("zero", Tensor([Int64(0)], shape: [1]))
    graph.outputs = [try graph.add(.binary(.divide), zero, zero, name: "quotient")]
    #expect {
      try graph.foldingConstants()
    } throws: { error in
      "\(error)".contains("'quotient'") && "\(error)".contains("divided by zero")
    }
  }
}
