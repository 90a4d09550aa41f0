import CatenaGraph
import CatenaTensors

/// One of the ONNX project's node tests: a small model with inputs and the outputs they must give.
package struct ONNXNodeTest: Sendable {
  /// The folder's name.
  package let name: String
  /// The type of the last node, which is the operator under test but for expanded functions.
  package let operatorType: String

  private let model: ONNXModel
  private let sets: [(inputs: [Tensor], outputs: [Tensor])]

  /// How a test ended.
  package enum Outcome: Sendable {
    /// It is outside what is claimed, for this reason.
    case unclaimed(String)
    /// All outputs agree.
    case passed
    /// It is claimed, and an output differs or could not be computed.
    case failed(String)
  }

  /// Why a test cannot be read: it is about something else than the claimed tensors.
  package struct Unreadable: Error {
    /// The reason.
    package let reason: String
  }

  /// Reads the test in `folder`/`name`.
  package init(_ name: String, in folder: String) throws(Unreadable) {
    do throws(ONNXError) {
      let path = "\(folder)/\(name)"
      let model = try ONNXModel(contentsOf: "\(path)/model.onnx")
      var sets: [(inputs: [Tensor], outputs: [Tensor])] = []
      for set in try entries(path) where set.hasPrefix("test_data_set_") {
        let inputs = try tensors("\(path)/\(set)", "input_", model.inputs)
        sets.append((inputs, try tensors("\(path)/\(set)", "output_", model.outputs)))
      }
      self.init(name, model: model, sets: sets)
    } catch { throw Unreadable(reason: error.description) }
  }

  /// A test of `model` with sets of inputs and the outputs that they must give.
  package init(_ name: String, model: ONNXModel, sets: [(inputs: [Tensor], outputs: [Tensor])]) {
    self.name = name
    self.model = model
    self.sets = sets
    operatorType = model.nodeCount > 0 ? model.location(of: model.nodeCount - 1).operatorType : ""
  }

  /// Imports the model and runs it with `evaluate`, which gives the values of the graph's outputs.
  package func run(
    _ evaluate: (Graph, ValueMap<Tensor>) async throws -> [Tensor]
  ) async -> Outcome {
    for set in sets {
      guard set.inputs.count == model.inputs.count, set.outputs.count == model.outputs.count else {
        return .unclaimed("it has inputs or outputs that are no tensors")
      }
      switch imported(set.inputs) {
      case .failure(.unsupported(let nodes)): return .unclaimed(nodes.map(\.reason).sorted()[0])
      case .failure(.binding(let reason)): return .unclaimed(reason)
      case .failure(let error): return .failed("it cannot be imported: \(error)")
      case .success(let graph):
        let named = Dictionary(uniqueKeysWithValues: zip(model.inputs.map(\.name), set.inputs))
        var inputs: ValueMap<Tensor> = [:]
        for input in graph.inputs { inputs[input] = named[graph[input].name] }
        do {
          let results = try await evaluate(graph, inputs)
          for (index, (result, expected)) in zip(results, set.outputs).enumerated() {
            if let difference = difference(result, expected) { return .failed("output \(index): \(difference)") }
          }
        } catch { return .failed("it cannot be run: \(error)") }
      }
    }
    return .passed
  }

  /// The graph with as few inputs bound as it takes: parameters such as axes must be known on import.
  private func imported(_ inputs: [Tensor]) -> Result<Graph, ONNXError> {
    let stages: [(Tensor) -> Bool] = [
      { _ in false }, { !$0.elementType.isFloatingPoint && $0.shape.rank <= 1 }, { $0.shape.rank <= 1 }, { _ in true },
    ]
    var last = ONNXError.malformed("")
    for isBound in stages {
      do throws(ONNXError) {
        let bound = zip(model.inputs, inputs).filter { isBound($1) }.map { ($0.name, $1) }
        let model = try model.bindingInputs(Dictionary(uniqueKeysWithValues: bound))
        return .success(try model.graph(batch: model.fixedBatch ?? 1))
      } catch {
        guard case .unsupported = error else { return .failure(error) }
        last = error
      }
    }
    return .failure(last)
  }
}

/// What is different, `nil` when floating-point numbers agree to the tolerance of ONNX's own runner and all else
/// exactly.
package func difference(
  _ result: Tensor, _ expected: Tensor, relative: Double = 1e-3, absolute: Double = 1e-7
) -> String? {
  guard result.elementType == expected.elementType, result.shape == expected.shape else {
    return
      "it is \(result.elementType.rawValue) \(result.shape), not \(expected.elementType.rawValue) \(expected.shape)"
  }
  guard result.elementType.isFloatingPoint else {
    return result.isBitIdentical(to: expected)
      ? nil : "\(result.integers.prefix(8)) is not \(expected.integers.prefix(8))"
  }
  // The project's bf16 data is cut off where its own helpers and the runtimes round to nearest: one unit in the last of
  // the eight places.
  let relative = result.elementType == .bfloat16 ? max(relative, 0x1p-7) : relative
  for (index, (value, wanted)) in zip(result.doubles, expected.doubles).enumerated() {
    if value == wanted || (value.isNaN && wanted.isNaN) { continue }
    if abs(value - wanted) <= absolute + relative * abs(wanted) { continue }
    return "element \(index) is \(value), not \(wanted)"
  }
  return nil
}

private func entries(_ path: String) throws(ONNXError) -> [String] {
  do throws(FileError) { return try folderEntries(path) } catch { throw .file(error) }
}

/// The tensors `prefix`0.pb, `prefix`1.pb, ... of a folder, for these inputs or outputs.
private func tensors(_ path: String, _ prefix: String, _ ports: [ONNXModel.Port]) throws(ONNXError) -> [Tensor] {
  let count = try entries(path).filter { $0.hasPrefix(prefix) }.count
  var result: [Tensor] = []
  for index in 0..<count {
    let bytes: [UInt8]
    do throws(FileError) { bytes = try readFile("\(path)/\(prefix)\(index).pb") } catch { throw .file(error) }
    var tensor = try Tensor(onnx: bytes)
    // The project's data stores bf16 as the bits in u16.
    if index < ports.count, ports[index].elementType == .bfloat16, tensor.elementType == .uint16 {
      let values = tensor.elements(of: UInt16.self).map { BFloat16(bitPattern: $0) }
      tensor = Tensor(values, shape: tensor.shape)
    }
    result.append(tensor)
  }
  return result
}
