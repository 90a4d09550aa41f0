import CatenaGraph
import CatenaTensors
import TestSupport
import Testing

/// Operand shapes, as problems' lines say them.
@Suite("Shape inference")
struct ShapeInferenceTests {
  @Test(
    "shapes of results",
    arguments: [
      ("convolution n2 c3 hw32x32 m16 k3x3 p1", [2, 16, 32, 32]),
      ("convolution n2 c3 hw32x32 m16 k3x3 s2 p1", [2, 16, 16, 16]),
      ("convolution n1 c3 hw224x224 m64 k7x7 s2 p3", [1, 64, 112, 112]),
      ("convolution n2 c5 hw7x9 m6 k3x3 s2x1 p1x0x2x1 d1 g1 bias", [2, 6, 4, 8]),
      ("convolution n1 c6 hw11x8 m9 k3x2 s1x2 p2x1x0x1 d2x1 g3", [1, 9, 9, 5]),
      ("convolution n1 c3 hw9x9 m5 k3x3 p-1x0x0x-2", [1, 5, 6, 5]),
      ("convolutionTranspose n2 c6 hw5x5 m4 k3x3 s2 p1 o1", [2, 4, 10, 10]),
      ("convolutionTranspose n1 c4 hw4x6 m6 k4x4 s2 p1", [1, 6, 8, 12]),
      ("gemm 7x5 3x7 1x3 transposeA transposeB", [5, 3]),
      ("matmul 3x1x2x4 5x4x3", [3, 5, 2, 3]),
      ("matmul 4 4x3", [3]),
      ("matmul 2x3x4 4", [2, 3]),
      ("matmul 6 6", []),
      ("pool n1 c1 hw13x13 k3x3 s2 maximum", [1, 1, 6, 6]),
      ("pool n1 c1 hw12x12 k3x3 s2 maximum", [1, 1, 5, 5]),
      ("pool n1 c1 hw12x12 k3x3 s2 ceil maximum", [1, 1, 6, 6]),
      // The last window would begin in the end padding: it does not count.
      ("pool n1 c1 hw4x4 k2x2 s3 p0x0x1x1 ceil maximum", [1, 1, 2, 2]),
      ("pool n1 c1 l5 k2 s3 p1 ceil maximum", [1, 1, 2]),
      ("binary add 5 2x3x1", [2, 3, 5]),
      ("reduce sum 2x16x5x7 axes2x3 keep", [2, 16, 1, 1]),
      ("reduce sum 2x16x5x7 axes2x3", [2, 16]),
      ("reduce sum 2x3 axes0x1", []),
      ("argReduce maximum 5x10 axis1", [5]),
      ("concatenate 2x3x1 2x3x4 2x3x2 axis2", [2, 3, 7]),
      ("slice 5x6 starts4x0 sizes3x2 steps-1x2", [3, 2]),
      ("pad 5x6 begins-1x2 ends1x-2 edge", [5, 6]),
      ("transpose 2x3x4x5 axes3x1x0x2", [5, 3, 2, 4]),
      ("expand 3x1 2x3x4", [2, 3, 4]),
      ("gather 3x5x4 2x2 axis1", [3, 2, 2, 4]),
      ("gather 6 scalar axis0", []),
      ("gateGradient 6x5x3x4 regions3", [3, 5]),
    ] as [(String, [Int])])
  func results(_ line: String, _ shape: [Int]) throws {
    let problem = try Problem(line)
    #expect(try problem.operation.outputTypes(of: problem.operands.map(\.type))[0].shape == Shape(shape))
  }

  @Test("types of results")
  func elementTypes() throws {
    func types(_ line: String) throws -> [ElementType] {
      let problem = try Problem(line)
      return try problem.operation.outputTypes(of: problem.operands.map(\.type)).map(\.elementType)
    }
    #expect(try types("binary less 3 3") == [.bool])
    #expect(try types("binary add int64 3 3") == [.int64])
    #expect(try types("argReduce maximum 3 axis0") == [.int64])
    #expect(try types("cast float32 float16 3") == [.float16])
    #expect(try types("select 3 3 3") == [.float32])
    #expect(try types("split 6x4 axis0 sizes2x4") == [.float32, .float32])
    #expect(try types("adam 3 3").count == 4)
  }

  @Test(
    "shapes that do not fit are refused with the rule and the numbers",
    arguments: [
      ("matmul 3x4 5x2", "the inner extents 4 and 5 differ"),
      ("matmul scalar 4", "a scalar cannot be a factor"),
      ("matmul 2x3x4 5x4x2", "2 and 5 do not broadcast"),
      ("gemm 2x3x4 4x5", "both factors must be matrices"),
      ("gemm 3x4 4x5 2x5", "2x5 does not broadcast to 3x5"),
      ("convolution n1 c6 hw5x5 m4 k3x3 g4", "the weight reads 1 x 4 (groups) channels, the data has 6"),
      ("convolution n1 c6 hw5x5 m4 k3x3 g3", "4 filters do not divide into 3 groups"),
      ("convolution n1 c6 hw2x5 m4 k3x3", "the kernel does not fit into the padded data on spatial axis 0"),
      ("convolution n1 c6 hw5x5 m4 k3x3 s0", "strides and dilations must be positive"),
      ("pool n1 c1 hw5x5 k3x3 p3 maximum", "padding must be smaller than the window on spatial axis 0"),
      ("pool n1 c1 hw5x2 k3x3 maximum", "the window does not fit into the padded data on spatial axis 1"),
      ("binary add 2x3 2", "2x3 and 2 do not broadcast"),
      ("select 2 3 3", "do not broadcast"),
      ("softmax 2x3 axes2", "axes [2] are out of range"),
      ("reduce sum 2x3 axes1x1", "an axis is listed twice"),
      ("argReduce maximum 2x0 axis1", "axis 1 is empty"),
      ("concatenate 2x3 2x4 axis0", "the inputs differ on another axis than 0: 2x4 and 2x3"),
      ("concatenate 2x3 2 axis0", "all inputs need one rank"),
      ("split 2x9 axis1 sizes3x5", "the sizes [3, 5] do not add up to 9"),
      ("slice 5x6 starts4x0 sizes3x2", "axis 0 is sliced outside its 5 elements"),
      ("pad 3 begins3 ends0 reflect", "axis 0 is too short to be mirrored"),
      ("pad 3 begins-2 ends-2 constant0", "axis 0 would have -1 elements"),
      ("reshape 2x3 4x2", "6 elements cannot be reshaped to 4x2 (8 elements)"),
      ("transpose 2x3 axes0x0", "[0, 0] is no permutation of 2 axes"),
      ("expand 2x3 2x2", "2x3 does not expand to 2x2"),
      ("resize 2x3 sizes2 linear halfPixel scales1", "sizes and scales need 2 entries"),
      ("gate 6x5 regions4", "6 samples do not divide into 4 regions"),
      ("adam 3x4 2x4", "the mask must broadcast to the parameter"),
      ("localResponseNormalization 2x3x4 size0", "the window must hold a channel"),
    ])
  func refusals(_ line: String, _ reason: String) {
    #expect {
      try Problem(line)
    } throws: { error in
      "\(error)".contains(reason)
    }
  }

  @Test("wrong numbers of operands and wrong operands' shapes are refused")
  func operands() {
    func expect(_ reason: String, _ operation: Operator, _ shapes: Shape...) {
      #expect {
        try operation.outputTypes(of: shapes.map { TensorType(.float32, $0) })
      } throws: { error in
        (error as? ShapeError)?.reason.contains(reason) == true
      }
    }
    let convolution = Operator.convolution(
      Convolution(strides: [1, 1], padsBegin: [0, 0], padsEnd: [0, 0], dilations: [1, 1]))
    expect("takes 2...3 inputs, not 1", convolution, [1, 3, 5, 5])
    expect("the bias must have 4 elements", convolution, [1, 3, 5, 5], [4, 3, 3, 3], [3])
    expect("data and weight need one rank", convolution, [1, 3, 5], [4, 3, 3, 3])
    expect("strides, pads and dilations need 1 entries", convolution, [1, 3, 5], [4, 3, 3])
    expect("every parameter must have 3 elements", .batchNormalization(epsilon: 0), [1, 3], [3], [3], [2], [3])
    expect("gradient and value must have one shape", .unaryGradient(.tanh), [3], [4])
    expect("the gate has 4 channels, the data 5", .gate(axis: 1), [2, 5], [1, 4])
    expect("axis 0 is no channel axis", .gate(axis: 0), [2, 5], [1, 2])
    expect(
      "the gradient does not have the slice's shape",
      .sliceGradient(Slice(0..<2, axis: 0, of: [4]), inputShape: [4]), [3])
    expect("the gradient does not have the gathered shape", .gatherGradient(axis: 0, inputShape: [4]), [3], [2])
    expect("must have one shape", .adam(Adam(learningRate: 1)), [3], [3], [2], [3], [], [])
  }

  @Test("a graph names the node and its operands")
  func graphErrors() {
    var graph = Graph()
    let a = graph.addInput("image", TensorType(.float32, [2, 3]))
    let b = graph.addInput("weights", TensorType(.float32, [4, 5]))
    #expect {
      try graph.add(.matmul, a, b, name: "logits")
    } throws: { error in
      "\(error)" == "matmul 'logits' (image: float32 2x3, weights: float32 4x5): the inner extents 3 and 4 differ"
    }
  }
}
