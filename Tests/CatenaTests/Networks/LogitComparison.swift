import Catena

/// The largest difference of logits that two correct single-precision implementations may show, relative to the range of
/// the logits.
let logitTolerance = 1e-4

/// How far logits are from those expected.
struct LogitComparison: CustomStringConvertible {
  /// The largest absolute difference, in units of the range of the expected logits.
  let difference: Double
  /// Samples with another top class although the expected one leads by more than the tolerance.
  let differentClasses: [Int]
  /// Samples whose expected top class leads by less than the tolerance.
  let nearTies: Int

  init(_ found: Tensor, _ expected: Tensor) {
    precondition(found.shape == expected.shape, "logits \(found.shape) and \(expected.shape) are compared")
    let (found, expected) = (found.rows, expected.rows)
    let all = expected.joined()
    let range = Double((all.max() ?? 0) - (all.min() ?? 0))
    let largest = zip(found.joined(), all).map { abs(Double($0) - Double($1)) }.max { $1 > $0 || $1.isNaN } ?? 0
    difference = largest == 0 ? 0 : largest / range
    var (different, ties) = ([Int](), 0)
    for (sample, row) in expected.enumerated() {
      let leading = row.sorted(by: >).prefix(2)
      if Double(leading[0] - leading[1]) <= logitTolerance * range {
        ties += 1
      } else if topClass(of: row) != topClass(of: found[sample]) {
        different.append(sample)
      }
    }
    (differentClasses, nearTies) = (different, ties)
  }

  var description: String {
    "largest difference \(difference) of the range, \(differentClasses.count) other classes, \(nearTies) near ties"
  }
}

extension Tensor {
  /// The rows of a matrix.
  var rows: [[Float]] {
    let width = shape.count(of: 1..<shape.rank)
    let values = floats
    return (0..<shape[0]).map { Array(values[$0 * width..<($0 + 1) * width]) }
  }

  /// A matrix.
  init(rows: [[Float]]) { self.init(Array(rows.joined()), shape: [rows.count, rows[0].count]) }

  /// ||self - expected|| / ||expected||
  func relativeError(to expected: Tensor) -> Double {
    precondition(shape.elementCount == expected.shape.elementCount, "\(shape) and \(expected.shape) are compared")
    let (found, wanted) = (doubles, expected.doubles)
    let error = zip(found, wanted).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    return (error / wanted.reduce(0) { $0 + $1 * $1 }).squareRoot()
  }
}

/// The processor's back end, and runs of graphs on any.
enum Run {
  /// The back end under test.
  static func processor() throws -> any Backend { try Engine(device: .cpu).backend }

  /// The network's logits for any number of samples.
  static func logits(of model: ONNXModel, _ input: Tensor, batch: Int = 20) async throws -> Tensor {
    let runner = try await NetworkRunner(model: model, batch: min(batch, input.shape[0]), backend: processor())
    let names = (0..<input.shape[0]).map(String.init)
    return Tensor(rows: try await runner.logits(of: Region(name: "test", samples: input, sampleNames: names)))
  }

  /// Compiles a graph, writes its inputs, runs once and reads some values.
  static func values(
    _ values: [ValueID], of graph: Graph, _ inputs: ValueMap<Tensor>, on backend: any Backend
  ) async throws -> [Tensor] {
    var graph = graph
    graph.outputs = values
    let executable = try await backend.compile(Program(graph.pruned()), options: CompileOptions())
    for (input, tensor) in inputs { try await executable.write(tensor, to: input) }
    try await executable.run(steps: 1)
    var results: [Tensor] = []
    for value in values { results.append(try await executable.read(value)) }
    return results
  }
}
