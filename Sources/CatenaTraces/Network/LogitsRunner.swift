import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Runs a graph of one input and one row of logits per image.
struct LogitsRunner: Sendable {
  private let executable: any Executable
  private let input: ValueID
  private let output: ValueID
  private let type: TensorType

  var memoryPlan: MemoryPlan { executable.memoryPlan }

  init(_ graph: Graph, backend: any Backend, options: CompileOptions) async throws {
    input = graph.inputs[0]
    output = graph.outputs[0]
    type = graph.type(input)
    executable = try await backend.compile(Program(graph), options: options)
  }

  /// The images per run with which `count` images take as few runs as with `largest`, and none is empty.
  static func batch(for count: Int, largest: Int) -> Int {
    let runs = (count + largest - 1) / largest
    return (count + runs - 1) / runs
  }

  /// The logits of images, each [1, channels, height, width]; the last batch is filled up with its last image.
  func logits(of images: [Tensor]) async throws -> [[Float]] {
    let batch = type.shape[0]
    var rows: [[Float]] = []
    for start in stride(from: 0, to: images.count, by: batch) {
      try Task.checkCancellation()
      let part = Array(images[start..<min(start + batch, images.count)])
      let filled = Tensor(elementType: type.elementType, shape: type.shape) { target in
        for index in 0..<batch {
          part[min(index, part.count - 1)].withUnsafeBytes { bytes in
            UnsafeMutableRawBufferPointer(rebasing: target[index * bytes.count..<(index + 1) * bytes.count])
              .copyMemory(from: bytes)
          }
        }
      }
      try await executable.write(filled, to: input)
      try await executable.run(steps: 1)
      rows += try await executable.read(output).rows.prefix(part.count)
    }
    return rows
  }
}

extension Tensor {
  /// The elements of every entry of the first axis.
  var rows: [[Float]] {
    let values = floats
    let length = values.count / max(1, shape[0])
    return (0..<shape[0]).map { Array(values[$0 * length..<($0 + 1) * length]) }
  }

  /// Entry `index` of the first axis, with that axis.
  func row(_ index: Int) -> Tensor {
    let bytes = byteCount / shape[0]
    var dimensions = shape.dimensions
    dimensions[0] = 1
    return withUnsafeBytes { source in
      Tensor(elementType: elementType, shape: Shape(dimensions)) { target in
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: source[index * bytes..<(index + 1) * bytes]))
      }
    }
  }
}
