import COneDNN
import CatenaCompute
import CatenaTensors

/// Operands and instructions of one pass over memory.
struct ElementwiseProgram {
  /// The extents that are walked.
  let shape: Shape
  /// Whether lanes are i64 instead of f32.
  let isInteger: Bool
  /// The batch is walked as this many regions of consecutive samples.
  var regions = 1
  private(set) var operands: [(view: View, role: catena_role, scale: Float)] = []
  private(set) var instructions: [Instruction] = []
  private var registers = 0

  /// A place that instructions read and write.
  enum Slot: Hashable {
    case operand(Int)
    case register(Int)
  }

  struct Instruction {
    var operation: catena_operation
    var destination: Slot
    var sources: [Slot]
    var a: Float
    var b: Float
    /// The storage type that CATENA_ROUND rounds to.
    var type: catena_type?
  }

  init(shape: Shape, isInteger: Bool) {
    self.shape = shape
    self.isInteger = isInteger
  }

  /// Adds an operand whose view has the walked shape; sums have stride 0 where they add up. With regions, a view may
  /// have one more axis, for them, in front.
  mutating func addOperand(_ view: View, _ role: catena_role, scale: Float = 1) -> Slot {
    operands.append((view, role, scale))
    return .operand(operands.count - 1)
  }

  mutating func addRegister() -> Slot {
    registers += 1
    return .register(registers - 1)
  }

  mutating func append(
    _ operation: catena_operation, _ destination: Slot, _ sources: Slot..., a: Float = 0, b: Float = 0,
    type: catena_type? = nil
  ) {
    instructions.append(
      Instruction(operation: operation, destination: destination, sources: sources, a: a, b: b, type: type))
  }

  /// The walked axes, outermost first, in the order of memory of the first full operand, and each operand's strides.
  private var walk: (extents: [Int64], strides: [Int64]) {
    let extents = [regions, shape.rank == 0 ? 1 : shape[0] / regions] + shape.dimensions.dropFirst()
    let rows = operands.map { strides(of: $0.view) }
    // Order of memory: that of an operand that has every element once, preferably one that is written.
    let full =
      operands.first { $0.role == CATENA_WRITE }
      ?? operands.first { $0.view.shape == shape && ($0.view.isDense || $0.view.map != nil) }
    let inner = full?.view.layout.order ?? Array(0..<shape.rank)
    let order = shape.rank == 0 ? [0, 1] : walkOrder(inner)
    return (order.map { Int64(extents[$0]) }, rows.flatMap { row in order.map { Int64(row[$0]) } })
  }

  /// Regions stay directly outside the rest of the batch axis.
  private func walkOrder(_ order: [Int]) -> [Int] { order.flatMap { $0 == 0 ? [0, 1] : [$0 + 1] } }

  /// One stride for the regions, one for the samples of a region, then the rest.
  private func strides(of view: View) -> [Int] {
    if view.shape.rank == shape.rank + 1 { return view.strides }
    guard let first = view.strides.first else { return [0, 0] }
    return [first * (shape[0] / regions), first] + view.strides.dropFirst()
  }

  /// Registers are reused once their last reader is done, so that a block of all of them stays in the cache.
  private func compactedInstructions() -> [catena_instruction] {
    var lastUse = [Int](repeating: -1, count: registers)
    for (index, instruction) in instructions.enumerated() {
      for case .register(let register) in instruction.sources + [instruction.destination] { lastUse[register] = index }
    }
    var numbers = [Int32?](repeating: nil, count: registers)
    var free: [Int32] = []
    var next = Int32(operands.count)
    func number(_ slot: Slot) -> Int32 {
      switch slot {
      case .operand(let index): return Int32(index)
      case .register(let register):
        if let known = numbers[register] { return known }
        let number = free.popLast() ?? next
        if number == next { next += 1 }
        numbers[register] = number
        return number
      }
    }
    return instructions.enumerated().map { index, instruction in
      let sources = instruction.sources.map(number)
      let destination = number(instruction.destination)
      for case .register(let register) in instruction.sources + [instruction.destination]
      where lastUse[register] == index {
        if let done = numbers[register] { free.append(done) }
        // It is given back once, however often the instruction names it.
        lastUse[register] = -1
      }
      let right = instruction.type.map { Int32(bitPattern: $0.rawValue) } ?? (sources.count > 1 ? sources[1] : 0)
      return catena_instruction(
        operation: instruction.operation, destination: destination, left: sources[0], right: right,
        third: sources.count > 2 ? sources[2] : 0, a: instruction.a, b: instruction.b)
    }
  }

  /// What adds the pass to programs, as often as asked, and the bytes of partial sums that it needs.
  func binding(threads: Int) -> (scratch: Int, bind: (Binder) throws(ComputeError) -> Void) {
    let (extents, strides) = walk
    let instructions = compactedInstructions()
    let scratch = catena_elementwise_scratch(
      Int32(extents.count), extents, Int32(operands.count), kernelOperands { _ in nil }, strides, Int32(threads))
    let bind = { (binder: Binder) throws(ComputeError) in
      let status = withChannelMaps { maps in
        catena_add_elementwise(
          binder.program, Int32(extents.count), extents, Int32(operands.count),
          kernelOperands { binder.pointer($0) }, strides, maps, Int32(instructions.count), instructions, isInteger,
          Int32(binder.threads), binder.scratch)
      }
      try status.check(device: deviceName)
    }
    return (scratch, bind)
  }

  private func kernelOperands(_ address: (View) -> UnsafeMutableRawPointer?) -> [catena_operand] {
    operands.map { operand in
      catena_operand(
        data: address(operand.view), type: operand.view.storage.kernelType, role: operand.role, scale: operand.scale)
    }
  }

  /// Calls `body` with the operands' channel maps, `nil` without any.
  private func withChannelMaps<Result>(_ body: (UnsafePointer<catena_channel_map>?) -> Result) -> Result {
    let channels = operands.flatMap { $0.view.map?.channels ?? [] }
    guard !channels.isEmpty else { return body(nil) }
    return channels.withUnsafeBufferPointer { channels in
      var next = channels.baseAddress
      let maps = operands.map { operand in
        guard let map = operand.view.map, let first = next else { return catena_channel_map() }
        next = first + map.channels.count
        return catena_channel_map(channels: first, count: Int64(map.channels.count), is_placed: map.isPlaced)
      }
      return body(maps)
    }
  }

  /// Results that may take an operand's place: it lies as they do, and nothing reads it after they are written.
  var takeovers: [Takeover] {
    var result: [Takeover] = []
    for (output, written) in operands.enumerated() where written.role == CATENA_WRITE {
      let firstWrite = instructions.firstIndex { $0.destination == .operand(output) } ?? 0
      for (input, read) in operands.enumerated() where read.role == CATENA_READ {
        let lastRead = instructions.lastIndex { $0.sources.contains(.operand(input)) } ?? 0
        let views = operands.filter { $0.role == CATENA_READ && $0.view.buffer == read.view.buffer }
        guard lastRead <= firstWrite, views.count == 1, read.view.offset == 0, written.view.offset == 0,
          read.view.storage == written.view.storage, read.view.strides == written.view.strides,
          read.view.shape == written.view.shape
        else { continue }
        result.append(Takeover(output: written.view.buffer, input: read.view.buffer))
      }
    }
    return result
  }
}

extension Lowering {
  /// Adds a pass over memory.
  func addElementwise(_ program: ElementwiseProgram, name: String, kind: String, shape: Shape) {
    let bytes = program.operands.reduce(0) { total, operand in
      total + operand.view.storage.byteCount * distinctElements(operand.view)
    }
    let record = KernelRecord(
      name: name, kind: kind, shape: shape, implementation: "catena", operations: 0, bytes: bytes)
    let written = program.operands.filter { $0.role != CATENA_READ }
    let read = program.operands.filter { $0.role == CATENA_READ }
    let (scratch, bind) = program.binding(threads: threads)
    plan.steps.append(
      PlannedStep(
        record: record, reads: read.map(\.view.buffer), writes: written.map(\.view.buffer), scratch: scratch,
        takeovers: program.takeovers, bind: bind))
  }

  private func distinctElements(_ view: View) -> Int {
    zip(view.shape.dimensions, view.strides).reduce(view.map?.channels.count ?? 1) { $1.1 == 0 ? $0 : $0 * $1.0 }
  }
}
