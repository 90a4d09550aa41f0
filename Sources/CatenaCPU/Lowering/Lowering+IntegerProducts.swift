import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

extension Lowering {
  /// A product of integers, in i64.
  func lowerIntegerMatmul(_ node: Node) {
    let value = node.outputs[0]
    var a = logical(node.inputs[0], .int64)
    var b = logical(node.inputs[1], .int64)
    if a.shape.rank == 1 { a.shape = [1, a.shape[0]] }
    if b.shape.rank == 1 { b.shape = [b.shape[0], 1] }
    (a.strides, b.strides) = (a.shape.strides, b.shape.strides)
    let result = allocate(graph.shape(value), .logical(rank: graph.shape(value).rank), .int64)
    addIntegerProduct(a, b, result, value)
    define(value, result)
  }

  /// alpha * op(A) op(B) + beta * C in i64; alpha and beta are whole numbers.
  func lowerIntegerGemm(_ gemm: Gemm, _ node: Node) {
    let value = node.outputs[0]
    let a = factor(node.inputs[0], isTransposed: gemm.transposeA)
    let b = factor(node.inputs[1], isTransposed: gemm.transposeB)
    let product = allocate(graph.shape(value), .logical(rank: 2), .int64)
    addIntegerProduct(a, b, product, value)
    guard gemm.alpha != 1 || node.inputs.count > 2 else {
      define(value, product)
      return
    }
    var program = ElementwiseProgram(shape: product.shape, isInteger: true)
    let source = program.addOperand(product, CATENA_READ)
    let addendView = node.inputs.count > 2 ? view(node.inputs[2]).broadcast(to: product.shape) : nil
    let third = addendView.map { program.addOperand($0, CATENA_READ) }
    let result = allocate(product.shape, .logical(rank: 2), .int64)
    let destination = program.addOperand(result, CATENA_WRITE)
    let scaled = third == nil ? destination : program.addRegister()
    program.append(CATENA_MULTIPLY, scaled, source, wholeNumber(gemm.alpha, &program))
    if let third {
      let addend = program.addRegister()
      program.append(CATENA_MULTIPLY, addend, third, wholeNumber(gemm.beta, &program))
      program.append(CATENA_ADD, destination, scaled, addend)
    }
    addElementwise(program, name: graph[value].name, kind: "scale", shape: product.shape)
    define(value, result)
  }

  private func wholeNumber(_ number: Float, _ program: inout ElementwiseProgram) -> ElementwiseProgram.Slot {
    let scalar = constant(Tensor(scalar: Int64(number)), .logical(rank: 0), .int64)
    return program.addOperand(scalar.broadcast(to: program.shape), CATENA_READ)
  }

  private func factor(_ value: ValueID, isTransposed: Bool) -> View {
    let matrix = logical(value, .int64)
    guard isTransposed else { return matrix }
    var turned = matrix
    turned.shape = [matrix.shape[1], matrix.shape[0]]
    turned.strides = matrix.strides.reversed()
    return copied(turned, to: .logical(rank: 2), .int64, name: graph[value].name)
  }

  private func addIntegerProduct(_ a: View, _ b: View, _ result: View, _ value: ValueID) {
    let (rows, inner, columns) = (a.shape[-2], a.shape[-1], b.shape[-1])
    let batchShape =
      Shape(a.shape.dimensions.dropLast(2)).broadcast(with: Shape(b.shape.dimensions.dropLast(2))) ?? .scalar
    let offsets = [a, b].map { view in
      batchOffsets(Shape(view.shape.dimensions.dropLast(2)), batchShape, step: view.shape[-2] * view.shape[-1])
    }
    addStep(record(value, "integerProduct", inputs: [a, b]), reads: [a, b], writes: [result]) { binder in
      func integers(_ view: View) -> UnsafeMutablePointer<Int64> {
        binder.pointer(view).assumingMemoryBound(to: Int64.self)
      }
      catena_add_integer_matmul(
        binder.program, integers(a), integers(b), integers(result), Int64(batchShape.elementCount), offsets[0],
        offsets[1], Int64(rows), Int64(inner), Int64(columns))
    }
  }

  /// Where each product's factor begins.
  private func batchOffsets(_ own: Shape, _ batch: Shape, step: Int) -> [Int64] {
    let strides = own.broadcastStrides(to: batch)
    return (0..<batch.elementCount).map { index in
      var (rest, offset) = (index, 0)
      for axis in stride(from: batch.rank - 1, through: 0, by: -1) {
        offset += rest % batch[axis] * strides[axis]
        rest /= batch[axis]
      }
      return Int64(offset * step)
    }
  }
}
