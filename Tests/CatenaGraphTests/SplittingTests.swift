import CatenaGraph
import CatenaReference
import CatenaTensors
import Testing

/// What depends on one input alone is split off, and part and rest compute what the whole did.
@Suite struct SplittingTests {
  @Test(arguments: 0..<100) func randomGraph(seed: Int) throws {
    var network = SlicingNetwork(seed: 5000 + seed)
    let fixed = network.input(2, 3, 4, 4)
    let changing = network.graph.addInput("s", network.graph.type(fixed))
    let number = network.constant("number", [2, 3, 4, 4])
    var values = [fixed, changing, number, try network.relu(number)]
    for _ in 0..<10 {
      let (x, y) = (pick(&network, values), pick(&network, values))
      switch Int(network.random.uniform() * 4) {
      case 0: values.append(try network.convolution(x, 3))
      case 1: values.append(try network.relu(x))
      case 2: values.append(try network.binary(.add, x, y))
      default: values.append(try network.binary(.multiply, x, y))
      }
    }
    network.graph.outputs = Array(values.suffix(2))
    let whole = network.graph.pruned()
    var given: ValueMap<Tensor> = [:]
    for input in whole.inputs {
      let shape = whole.shape(input)
      given[input] = Tensor((0..<shape.elementCount).map { _ in 2 * network.random.uniform() - 1 }, shape: shape)
    }
    guard let (part, rest) = whole.splitting(offWhatDependsOn: fixed) else {
      let firsts = whole.nodes.filter { node in
        node.inputs.contains(fixed) && node.inputs.allSatisfy { $0 == fixed || whole.constants[$0] != nil }
      }
      #expect(firsts.isEmpty)
      return
    }
    try part.checkInvariants()
    try rest.checkInvariants()
    #expect(part.inputs == [fixed])
    #expect(rest.splitting(offWhatDependsOn: fixed) == nil)
    let readsInput = rest.nodes.contains { $0.inputs.contains(fixed) } || rest.outputs.contains(fixed)
    #expect(rest.inputs.contains(fixed) == readsInput)
    let made = try Reference.run(part, inputs: [fixed: #require(given[fixed])], precision: .double)
    let expected = try Reference.run(whole, inputs: given, precision: .double)
    let read = given.merging(made) { $1 }.filter { rest.inputs.contains($0.key) }
    let found = try Reference.run(rest, inputs: read, precision: .double)
    for output in whole.outputs { #expect(found[output]?.doubles == expected[output]?.doubles) }
  }

  private func pick(_ network: inout SlicingNetwork, _ values: [ValueID]) -> ValueID {
    values[Int(network.random.uniform() * Double(values.count))]
  }
}
