import ArgumentParser
import Catena

struct VerifyCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Proves a chain: every weight bit-identical to the original's, the outputs reproduced.",
    discussion: """
      Example:
        catena verify DIR model.onnx

      Makes every constant of the chain again from the network and the manifest \
      alone, cuts the network again, and runs both on the stored samples. Exits \
      with 1, naming what differs, when one byte of the folder has changed.
      """)

  @Argument(help: "The chain's folder.", completion: .directory)
  var chain: String

  @Argument(help: "The network that the chain was extracted from.", completion: .file(extensions: ["onnx"]))
  var model: String

  @OptionGroup var device: DeviceOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    if device.precision != .f32 { throw ValidationError("outputs are compared in f32: leave out --precision") }
  }

  func run() async throws {
    let command = self
    try await reportingFailures(of: model) { try await command.verify() }
  }

  private func verify() async throws {
    let source = try ONNXModel(contentsOf: model)
    let engine = try device.openEngine()
    let verifier = ChainVerifier(
      folder: chain, model: source, backend: engine.backend, options: engine.compileOptions)
    let result = try await verifier.verify()
    if json { return try Output.json(result) }
    try Output.line(
      """
      verified    \(result.constants) constants, \(result.elements) elements: \
      \(result.elements - result.structuralZeros) bit-identical to the original's, \(result.structuralZeros) listed zeros
      outputs     \(result.samples) samples reproduced, largest difference \(result.largestDifference) of the logits' range
      """)
  }
}
