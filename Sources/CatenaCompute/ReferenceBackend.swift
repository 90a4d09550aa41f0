import CatenaGraph
import CatenaReference
import CatenaTensors

/// Runs graphs with the literal meaning of every operator: slowly, one node after another, all floating-point values in
/// double from input to output. The truth that other back ends are tested against.
public struct ReferenceBackend: Backend {
  /// The device's description.
  public let device = DeviceDescription(
    backend: "reference", name: "literal evaluation in double", instructionSet: "", threads: 1, memory: nil)

  /// The reference.
  public init() {}

  /// Converts the constants to double; every graph can be run.
  /// - Throws: `ComputeError.invalidGraph`, `.mismatch` for a carry that does not fit, `.outOfMemory`.
  public func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable {
    do throws(GraphError) { try program.graph.checkInvariants() } catch { throw .invalidGraph(error) }
    try program.checkCarries()
    let executable = ReferenceExecutable(program)
    if let limit = options.memoryLimit, executable.memoryPlan.total > limit {
      throw .outOfMemory(requested: executable.memoryPlan.total, available: limit, device: device.name)
    }
    return executable
  }
}

extension Program {
  /// Throws unless every carry goes from a value of the graph to an input of the same type that no other carry writes.
  package func checkCarries() throws(ComputeError) {
    let made = ValueSet(graph.inputs).union(graph.constants.keys).union(graph.producers().keys)
    var written: ValueSet = []
    for carry in carries {
      guard graph.inputs.contains(carry.input) else {
        throw .mismatch("\(carry.input) is carried to, but is no input of the graph")
      }
      guard made.contains(carry.output) else { throw .mismatch("\(carry.output) is carried, but never made") }
      guard graph.type(carry.input) == graph.type(carry.output) else {
        throw .mismatch(
          "\(graph[carry.output].name) (\(graph.type(carry.output))) cannot be carried to "
            + "\(graph[carry.input].name) (\(graph.type(carry.input)))")
      }
      guard written.insert(carry.input).inserted else {
        throw .mismatch("two values are carried to \(graph[carry.input].name)")
      }
    }
  }
}

/// A program with its values, all in double. The actor's mailbox serves calls one after another; a run does not let
/// others in between its steps.
private actor ReferenceExecutable: Executable {
  nonisolated let memoryPlan: MemoryPlan
  private let program: Program
  private let constants: ValueMap<Tensor>
  private let wanted: ValueSet
  private var inputs: ValueMap<Tensor> = [:]
  private var outputs: ValueMap<Tensor> = [:]

  init(_ program: Program) {
    self.program = program
    constants = program.graph.constants.mapValues(Reference.Precision.double.kept)
    wanted = ValueSet(program.graph.outputs).union(program.carries.map(\.output))
    memoryPlan = MemoryPlan(program, wanted: wanted)
  }

  func write(_ tensor: Tensor, to input: ValueID) throws(ComputeError) {
    let graph = program.graph
    guard graph.inputs.contains(input) else { throw .mismatch("\(input) is no input of the program") }
    let type = TensorType(tensor.elementType, tensor.shape)
    guard type == graph.type(input) else {
      throw .mismatch("the input \(graph[input].name) is \(graph.type(input)), not \(type)")
    }
    inputs[input] = Reference.Precision.double.kept(tensor)
  }

  func run(steps: Int) throws(ComputeError) {
    let graph = program.graph
    if let missing = graph.inputs.first(where: { inputs[$0] == nil }) {
      throw .mismatch("the input \(graph[missing].name) was never written")
    }
    for _ in 0..<steps {
      if Task.isCancelled { throw .cancelled }
      let known = constants.merging(inputs) { $1 }
      do throws(GraphError) {
        outputs = try Reference.run(graph, known: known, precision: .double, values: wanted)
      } catch { throw .invalidGraph(error) }
      for carry in program.carries { inputs[carry.input] = outputs[carry.output] }
    }
  }

  func read(_ value: ValueID) throws(ComputeError) -> Tensor {
    let graph = program.graph
    let isCarried = program.carries.contains { $0.input == value }
    guard isCarried || graph.outputs.contains(value) else {
      throw .mismatch("\(value) is neither an output nor a carried input of the program")
    }
    guard let tensor = isCarried ? inputs[value] : outputs[value] else {
      throw .mismatch("\(graph[value].name) is read before the first run")
    }
    return Reference.cast(tensor, to: graph.type(value).elementType)
  }
}

extension MemoryPlan {
  /// What the reference holds: every floating-point element as eight bytes; intermediates from the node that makes them
  /// to the last that reads them; as scratch one node's operands and results once more, in which it computes (its index
  /// tables are not counted).
  fileprivate init(_ program: Program, wanted: ValueSet) {
    let graph = program.graph
    func bytes(_ value: ValueID) -> Int {
      graph.shape(value).elementCount * Reference.Precision.double.kept(graph.type(value).elementType).byteCount
    }
    let lasting = wanted.union(graph.inputs).subtracting(graph.constants.keys)
    let readers = graph.readers()
    var live = 0
    var peak = 0
    var scratch = 0
    for (index, node) in graph.nodes.enumerated() {
      live += node.outputs.filter { !lasting.contains($0) }.map(bytes).reduce(0, +)
      peak = max(peak, live)
      scratch = max(scratch, (node.inputs + node.outputs).map(bytes).reduce(0, +))
      for value in ValueSet(node.inputs)
      where readers[value].last == index && !lasting.contains(value) && graph.constants[value] == nil {
        live -= bytes(value)
      }
    }
    self.init(
      constants: graph.constants.keys.map(bytes).reduce(0, +), persistent: lasting.map(bytes).reduce(0, +),
      intermediates: peak, scratch: scratch)
  }
}
