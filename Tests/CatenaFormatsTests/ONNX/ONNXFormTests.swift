import CatenaFormats
import CatenaReference
import CatenaTensors
import TestSupport
import Testing

/// Every form that an operator had between the operator sets 7 and 22, against onnxruntime
/// (`Tools/peers/make_onnx_goldens.py`).
@Suite("Forms of ONNX operators")
struct ONNXFormTests {
  @Test("every form gives onnxruntime's outputs")
  func forms() async throws {
    let path = try #require(Assets.repositoryFile("Tests/Goldens/ONNX/forms.npz").url).path
    var cases: [String: [String: Tensor]] = [:]
    for entry in try NPZ.read(path) {
      let parts = entry.name.split(separator: "/").map(String.init)
      cases[parts[0], default: [:]][parts[1]] = entry.tensor
    }
    #expect(cases.count > 350)
    for (name, tensors) in cases.sorted(by: { $0.key < $1.key }) {
      let bytes = try #require(tensors["model"]).elements(of: UInt8.self)
      func all(_ kind: String) -> [Tensor] { (0..<8).compactMap { tensors["\(kind)\($0)"] } }
      let test = try ONNXNodeTest(
        name, model: ONNXModel(data: bytes), sets: [(inputs: all("input"), outputs: all("output"))])
      let outcome = await test.run { graph, inputs in
        let results = try Reference.run(graph, inputs: inputs, precision: .declared)
        return try graph.outputs.map { try #require(results[$0]) }
      }
      switch outcome {
      case .passed: continue
      case .failed(let reason): Issue.record("\(name): \(reason)")
      case .unclaimed(let reason): Issue.record("\(name) is not imported: \(reason)")
      }
    }
  }
}
