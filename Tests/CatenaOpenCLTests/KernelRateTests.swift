import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// What kernels reach of the device's own rates, measured in one run: printed with CATENA_REPORT, judged by people, since
/// a shared machine's times are noise.
@Suite(
  .serialized,
  .enabled(
    if: ProcessInfo.processInfo.environment["CATENA_LONG_TESTS"] == "1" && DeviceUnderTest.isAvailable,
    "CATENA_LONG_TESTS is not 1"))
struct KernelRateTests {
  @Test func productsAgainstTheLargestOne() async throws {
    let best = try await rates("gemm 1024x1024 1024x1024").gigaflops
    Measured.report(String(format: "the best product: %.1f GFLOP/s", best))
    for line in [
      "gemm 512x512 512x512", "gemm 20x2048 1000x2048 1000 transposeB", "matmul 16x128x64 16x64x128",
      "convolution n20 c16 hw32x32 m16 k3x3 p1 bias", "convolution n20 c32 hw16x16 m64 k3x3 s2 p1",
      "convolution n4 c64 hw56x56 m64 k3x3 p1 bias", "convolution n4 c256 hw14x14 m256 k3x3 p1",
      "convolution n4 c64 hw56x56 m256 k1x1", "convolutionTranspose n4 c64 hw56x56 m64 k3x3 p1",
      "convolutionTranspose n4 c128 hw28x28 m64 k3x3 s2 p1 o1",
    ] {
      let rate = try await rates(line).gigaflops
      Measured.report(String(format: "%@: %.1f GFLOP/s, %.2f of the best product", line, rate, rate / best))
    }
  }

  @Test func memoryBoundKernelsAgainstACopy() async throws {
    let copy = try await rates("transpose 2x4194304 axes0x1").gigabytes
    Measured.report(String(format: "a copy: %.1f GB/s", copy))
    for line in [
      "unary relu 20x64x56x56", "binary add 20x64x56x56 20x64x56x56", "binary multiply 20x64x56x56 64x1x1",
      "batchNormalization 20x64x56x56", "gate 20x64x56x56", "gateGradient 20x64x56x56",
      "pool n20 c64 hw56x56 k2x2 s2 maximum", "reduce sum 20x64x56x56 axes2x3", "softmax 2048x1000 axes1",
      "slice 20x64x56x56 starts0x0x0x0 sizes20x64x28x28 steps1x1x2x2",
      "convolution n20 c96 hw56x56 m96 k3x3 p1 g96", "instanceNormalization 20x64x56x56",
    ] {
      let rate = try await rates(line).gigabytes
      Measured.report(String(format: "%@: %.1f GB/s, %.2f of a copy", line, rate, rate / copy))
    }
  }

  /// Rates of the slowest kernel of a problem, which is the one that does its work.
  private func rates(_ line: String) async throws -> (gigaflops: Double, gigabytes: Double) {
    let problem = try Problem(line)
    let operands = try problem.tensors(.reals)
    let graph = try problem.graph(weights: operands)
    let executable = try await DeviceUnderTest.backend.executable(Program(graph), options: CompileOptions())
    let written = zip(problem.operands, operands).filter { !$0.0.isWeight }.map(\.1)
    for (input, tensor) in zip(graph.inputs, written) { try await executable.write(tensor, to: input) }
    var least = [Double](repeating: .infinity, count: executable.records.count)
    for _ in 0..<9 { least = zip(least, try await executable.runTimed()).map(min) }
    guard let index = least.indices.max(by: { least[$0] < least[$1] }) else { return (0, 0) }
    let record = executable.records[index]
    return (Double(record.operations) / least[index] * 1e-9, Double(record.bytes) / least[index] * 1e-9)
  }
}
