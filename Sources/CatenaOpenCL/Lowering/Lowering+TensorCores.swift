import CatenaCompute
import CatenaGraph

/// A convolution, its transpose or a matrix product as Kernels/tensor/convolution.cl takes it.
struct TensorProblem {
  /// Channels last.
  var data: SlotID
  /// Height, width, channels.
  var input: [Int]
  /// Samples, height, width, channels.
  var output: [Int]
  /// Height, width.
  var taps: [Int]
  /// How output rows and columns read input rows and columns; see `ConvolutionMapping`.
  var across: [Int]
  var along: [Int]
  var bias: SlotID?
  /// The kernel and extents that measurements name.
  var operations: Int
  var shape: [Int]

  var rows: Int { output[0] * output[1] * output[2] }
}

extension Lowering {
  /// Appends the launch that computes `problem` on tensor cores, where the policy has it so.
  /// - Parameters:
  ///   - weight: gives the weight as output channel x tap row x tap column x input channel; asked only when needed.
  ///   - epilogue: the arguments of what happens to the result.
  /// - Returns: Whether it did.
  mutating func launchOnTensorCores(
    _ problem: TensorProblem, weight: (inout Lowering) -> SlotID?, epilogue: [Launch.Argument]
  ) -> Bool {
    let columns = problem.output[3]
    // Four consecutive inputs are read at once.
    guard problem.input[2].isMultiple(of: 4), problem.rows > 0, columns > 0,
      let (family, tile) = tensorPolicy.family(rows: problem.rows, columns: columns),
      let packed = weight(&self)
    else { return false }
    launch(
      family, "tensor_convolution",
      [
        .read(problem.data), .read(packed), problem.bias.map { .read($0) } ?? .null, .integers(problem.input + [1]),
        .integers(problem.output), .integers(problem.taps), .integers(problem.across), .integers(problem.along),
      ] + epilogue, workItems: tile.groups(rows: problem.rows, columns: columns) * tile.threads,
      groupSize: tile.threads, operations: problem.operations, shape: problem.shape)
    return true
  }

  /// The weight of a convolution (or of a transpose) as output channel x taps x input channel.
  mutating func tensorWeight(
    _ weight: ValueID, isTransposed: Bool, outputs: Int, inputs: Int, taps: Int, source: SlotID,
    factors: SlotID?
  ) -> SlotID {
    let key = PackedWeight(
      weight: weight, isTransposed: isTransposed, groups: 1, factors: factors, form: .tensorCores)
    return packed(key) { lowering in
      let target = lowering.addSlot(outputs * taps * inputs)
      let strides = isTransposed ? [taps, 1, outputs * taps] : [inputs * taps, 1, taps]
      lowering.copy(from: source, strides, to: target, [taps * inputs, inputs, 1], [outputs, taps, inputs])
      return target
    }
  }
}
