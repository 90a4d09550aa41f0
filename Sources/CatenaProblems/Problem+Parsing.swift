import CatenaGraph
import CatenaTensors

extension ProblemWords {
  /// The operator and its operands.
  mutating func problem() throws -> (Operator, [Operand]) {
    switch name {
    case "convolution", "convolutionTranspose": return try convolutionProblem()
    case "gemm", "matmul": return try matrixProblem()
    case "batchNormalization", "instanceNormalization", "localResponseNormalization",
      "localResponseNormalizationGradient":
      return try normalizationProblem()
    case "pool", "poolGradient": return try poolProblem()
    case "unary", "unaryGradient": return try unaryProblem()
    case "binary", "select", "cast", "identity": return try elementProblem()
    case "softmax", "logSoftmax", "reduce", "argReduce": return try axisProblem()
    case "gate", "gateGradient", "gateGradientFromOutput", "adam": return try gateProblem()
    case "slice", "sliceGradient", "pad", "padGradient", "gather", "gatherGradient", "resize", "resizeGradient":
      return try movementProblem()
    case "concatenate", "split", "reshape", "transpose", "expand": return try rearrangementProblem()
    default: throw error("there is no operator '\(name)'")
    }
  }

  private func operand(_ shape: Shape, _ content: Operand.Content = .any, weight: Bool = false) -> Operand {
    Operand(type: TensorType(type, shape), content: content, isWeight: weight)
  }

  private mutating func convolutionProblem() throws -> (Operator, [Operand]) {
    let data = try image()
    let filters = try integer("m")
    let kernel = try integers("k", count: data.rank - 2, default: 1)
    let convolution = try convolution(spatialRank: data.rank - 2)
    let isTransposed = name == "convolutionTranspose"
    let groups = convolution.groups
    let weight = isTransposed ? [data[1], filters / groups] + kernel : [filters, data[1] / groups] + kernel
    var operands = [operand(data), operand(Shape(weight), weight: true)]
    if flag("bias") { operands.append(operand([filters], weight: true)) }
    guard isTransposed else { return (.convolution(convolution), operands) }
    let outputPadding = try integers("o", count: data.rank - 2, default: 0)
    return (.convolutionTranspose(ConvolutionTranspose(convolution, outputPadding: outputPadding)), operands)
  }

  private mutating func matrixProblem() throws -> (Operator, [Operand]) {
    var operands = [operand(try shape()), operand(try shape(), weight: flag("weight"))]
    if name == "matmul" { return (.matmul, operands) }
    if let addend = optionalShape() { operands.append(operand(addend, weight: true)) }
    let parameters = Gemm(
      alpha: Float(number("alpha", default: 1)), beta: Float(number("beta", default: 1)),
      transposeA: flag("transposeA"), transposeB: flag("transposeB"))
    return (.gemm(parameters), operands)
  }

  private mutating func normalizationProblem() throws -> (Operator, [Operand]) {
    let data = try shape()
    let parameter = operand([data[1]], weight: true)
    switch name {
    case "batchNormalization":
      let variance = operand([data[1]], .positive, weight: true)
      return (
        .batchNormalization(epsilon: Float(number("epsilon", default: 1e-5))),
        [operand(data), parameter, parameter, parameter, variance]
      )
    case "instanceNormalization":
      return (
        .instanceNormalization(epsilon: Float(number("epsilon", default: 1e-5))), [operand(data), parameter, parameter]
      )
    case "localResponseNormalization":
      return (.localResponseNormalization(try responseNormalization()), [operand(data)])
    default:
      let parameters = try responseNormalization()
      let output = operand(data, .result(.localResponseNormalization(parameters), of: [1]))
      return (.localResponseNormalizationGradient(parameters), [operand(data), operand(data), output])
    }
  }

  private mutating func poolProblem() throws -> (Operator, [Operand]) {
    let data = try image()
    let parameters = try pool(spatialRank: data.rank - 2)
    if name == "pool" { return (.pool(parameters), [operand(data)]) }
    let output = try outputShape(.pool(parameters), data)
    return (
      .poolGradient(parameters),
      [operand(output), operand(data), operand(output, .result(.pool(parameters), of: [1]))]
    )
  }

  private mutating func unaryProblem() throws -> (Operator, [Operand]) {
    let data = try shape()
    let function = try unaryFunction()
    // Where the function has poles or no values, numbers stay clear of them.
    let content: Operand.Content =
      switch function {
      case .squareRoot, .logarithm, .reciprocal: .positive
      default: .any
      }
    if name == "unary" { return (.unary(function), [operand(data, content)]) }
    // The gradient's second operand is the input, or the output of a third that the node does not list: an output is
    // drawn from the range that the function has.
    let second: Operand.Content =
      switch function {
      case .exponential, .squareRoot, .reciprocal: .positive
      default: content
      }
    return (.unaryGradient(function), [operand(data), operand(data, second)])
  }

  private mutating func elementProblem() throws -> (Operator, [Operand]) {
    let first = try shape()
    switch name {
    case "identity": return (.identity, [operand(first)])
    case "cast": return (.cast(try secondType()), [operand(first)])
    case "select":
      let condition = Operand(type: TensorType(.bool, first), content: .any)
      return (.select, [condition, operand(try shape()), operand(try shape())])
    default:
      let function = try binaryFunction()
      let (left, right): (Operand.Content, Operand.Content) =
        switch function {
        case .divide, .modulo: (.any, .positive)
        case .power: (.positive, type.isInteger ? .positive : .any)
        default: (.any, .any)
        }
      return (.binary(function), [operand(first, left), operand(try shape(), right, weight: function == .prelu)])
    }
  }

  private mutating func axisProblem() throws -> (Operator, [Operand]) {
    let data = operand(try shape())
    switch name {
    case "softmax": return (.softmax(axes: try integers("axes")), [data])
    case "logSoftmax": return (.logSoftmax(axes: try integers("axes")), [data])
    case "argReduce":
      let findsMaximum = try choice(["maximum": true, "minimum": false])
      let parameters = ArgReduce(
        findsMaximum: findsMaximum, axis: try integer("axis"), keepsDimensions: flag("keep"), selectsLast: flag("last"))
      return (.argReduce(parameters), [data])
    default:
      let kind = try choice(Dictionary(uniqueKeysWithValues: Reduce.Kind.allCases.map { ("\($0)", $0) }))
      return (.reduce(Reduce(kind, axes: optionalIntegers("axes") ?? [], keepsDimensions: flag("keep"))), [data])
    }
  }

  private mutating func gateProblem() throws -> (Operator, [Operand]) {
    let data = try shape()
    if name == "adam" {
      let mask = try shape()
      let parameters = Adam(learningRate: Float(number("rate", default: 0.05)))
      return (
        .adam(parameters),
        [
          operand(data), operand(data), operand(data), operand(data, .positive), operand(.scalar, .count),
          operand(mask, .binary),
        ]
      )
    }
    let axis = try integer("axis", default: 1)
    let gate = operand([try integer("regions", default: 1), data[axis]])
    switch name {
    case "gate": return (.gate(axis: axis), [operand(data), gate])
    case "gateGradient": return (.gateGradient(axis: axis), [operand(data), operand(data), gate])
    default: return (.gateGradientFromOutput(axis: axis), [operand(data), operand(data), gate])
    }
  }

  private mutating func movementProblem() throws -> (Operator, [Operand]) {
    let data = try shape()
    func gradient(_ operation: Operator, _ gradient: Operator) throws -> (Operator, [Operand]) {
      (gradient, [operand(try outputShape(operation, data))])
    }
    switch name {
    case "slice": return (.slice(try slice()), [operand(data)])
    case "sliceGradient":
      let slice = try slice()
      return try gradient(.slice(slice), .sliceGradient(slice, inputShape: data))
    case "pad": return (.pad(try pad()), [operand(data)])
    case "padGradient":
      let pad = try pad()
      return try gradient(.pad(pad), .padGradient(pad, inputShape: data))
    case "resize": return (.resize(try resize(data)), [operand(data)])
    case "resizeGradient":
      let resize = try resize(data)
      return try gradient(.resize(resize), .resizeGradient(resize, inputShape: data))
    default:
      let axis = try integer("axis")
      let indexType: ElementType = flag("narrow") ? .int32 : .int64
      let indices = Operand(type: TensorType(indexType, try shape()), content: .indices(data[axis]))
      guard name == "gatherGradient" else { return (.gather(axis: axis), [operand(data), indices]) }
      let gathered = Shape(data.dimensions[..<axis] + indices.type.shape.dimensions + data.dimensions[(axis + 1)...])
      return (.gatherGradient(axis: axis, inputShape: data), [operand(gathered), indices])
    }
  }

  private mutating func rearrangementProblem() throws -> (Operator, [Operand]) {
    let data = operand(try shape())
    switch name {
    case "concatenate":
      var operands = [data]
      while let shape = optionalShape() { operands.append(operand(shape)) }
      return (.concatenate(axis: try integer("axis")), operands)
    case "split": return (.split(axis: try integer("axis"), sizes: try integers("sizes")), [data])
    case "reshape": return (.reshape(try shape()), [data])
    case "expand": return (.expand(try shape()), [data])
    default: return (.transpose(permutation: try integers("axes")), [data])
    }
  }

  private func outputShape(_ operation: Operator, _ data: Shape) throws -> Shape {
    do throws(ShapeError) { return try operation.outputTypes(of: [TensorType(type, data)])[0].shape } catch {
      throw self.error(error.reason)
    }
  }
}
