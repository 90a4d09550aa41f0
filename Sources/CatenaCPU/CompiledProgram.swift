import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors
import Foundation
import Logging

/// A program with its memory and kernels. Used by one thread at a time.
final class CompiledProgram: @unchecked Sendable {
  let bytes: MemoryPlan
  let kernels: [KernelRecord]
  private let program: OpaquePointer
  private let memory: ProgramMemory
  /// Kernels of each record.
  private let kernelCounts: [Int]
  /// Where inputs, outputs and carried values lie.
  private let views: [ValueID: View]
  private let addresses: [UnsafeMutableRawPointer]
  private let graph: Graph
  /// What kernels were bound to besides memory: primitives live as long as they.
  private let steps: [PlannedStep]

  /// Makes memory and kernels of a plan, unless they need more than `limit` bytes.
  init(_ lowering: Lowering, observed: Set<ValueID>, limit: Int?) throws(ComputeError) {
    let plan = lowering.plan
    let assignment = plan.assignMemory()
    bytes = assignment.bytes
    if let limit, bytes.total > limit {
      throw .outOfMemory(requested: bytes.total, available: limit, device: deviceName)
    }
    let memory = try ProgramMemory(assignment.bytes)
    let addresses = assignment.places.map { memory.address($0.region, $0.offset) }
    guard let program = catena_program_create() else { preconditionFailure("a program is always made") }
    self.memory = memory
    self.addresses = addresses
    self.program = program
    kernels = plan.steps.map(\.record)
    steps = plan.steps
    // Constants stay in the graph only as long as it is compiled.
    graph = lowering.graph.withoutConstants()
    views = lowering.views.filter { observed.contains($0.key) || lowering.graph.inputs.contains($0.key) }
    let binder = Binder(program: program, addresses: addresses, scratch: memory.scratch, threads: lowering.threads)
    var counts: [Int] = []
    for step in plan.steps {
      let before = catena_program_step_count(program)
      try step.bind(binder)
      counts.append(catena_program_step_count(program) - before)
    }
    kernelCounts = counts
    for (index, buffer) in plan.buffers.enumerated() {
      if case .constant(let fill) = buffer.kind { try fill(addresses[index]) }
    }
  }

  deinit { catena_program_destroy(program) }

  // MARK: Running

  func run() throws(ComputeError) { try catena_program_run(program, nil).check(device: deviceName) }

  /// Runs once. Returns the seconds of every kernel, in the order of `kernels`.
  func runTimed() throws(ComputeError) -> [Double] {
    var seconds = [Double](repeating: 0, count: catena_program_step_count(program))
    try catena_program_run(program, &seconds).check(device: deviceName)
    var next = 0
    return kernelCounts.map { count in
      defer { next += count }
      return seconds[next..<next + count].reduce(0, +)
    }
  }

  /// Runs once, and says of every kernel how long it took.
  func runLogged(_ logger: Logger) throws(ComputeError) {
    for (record, time) in zip(kernels, try runTimed()) {
      let rates = [Double(record.operations), Double(record.bytes)].map { time > 0 ? $0 / time * 1e-9 : 0 }
      let line = String(
        format: "%@ %@ %@: %.3f ms, %.1f GFLOP/s, %.1f GB/s", record.kind, record.shape.description,
        record.implementation, time * 1e3, rates[0], rates[1])
      logger.debug("\(record.name): \(line)")
    }
  }

  // MARK: Values

  func write(_ tensor: Tensor, to input: ValueID) throws(ComputeError) {
    guard graph.inputs.contains(input), let view = views[input] else {
      throw .mismatch("\(input) is no input of the program")
    }
    let type = graph.type(input)
    guard TensorType(tensor.elementType, tensor.shape) == type else {
      throw .mismatch("the input \(graph[input].name) is \(type), not \(tensor.elementType.rawValue) \(tensor.shape)")
    }
    tensor.withUnsafeBytes { bytes in
      guard let source = bytes.baseAddress, bytes.count > 0 else { return }
      copy(type.shape, source, type.shape.strides, address(view), view.strides, view.storage.byteCount)
    }
  }

  func read(_ value: ValueID) throws(ComputeError) -> Tensor {
    guard let view = views[value] else { throw .mismatch("\(value) is no output and no input of the program") }
    let type = graph.type(value)
    return Tensor(elementType: type.elementType, shape: type.shape) { bytes in
      guard let target = bytes.baseAddress, bytes.count > 0 else { return }
      copy(type.shape, address(view), view.strides, target, type.shape.strides, view.storage.byteCount)
    }
  }

  private func address(_ view: View) -> UnsafeMutableRawPointer {
    addresses[view.buffer.index] + view.offset * view.storage.byteCount
  }

  private func copy(
    _ shape: Shape, _ source: UnsafeRawPointer, _ sourceStrides: [Int], _ target: UnsafeMutableRawPointer,
    _ targetStrides: [Int], _ elementBytes: Int
  ) {
    catena_copy(
      Int32(shape.rank), shape.dimensions.map(Int64.init), source, sourceStrides.map(Int64.init), target,
      targetStrides.map(Int64.init), Int32(elementBytes))
  }
}

/// The memory of one program, zeroed.
private final class ProgramMemory {
  private let constants: UnsafeMutableRawPointer
  private let persistent: UnsafeMutableRawPointer
  private let intermediates: UnsafeMutableRawPointer
  let scratch: UnsafeMutableRawPointer

  init(_ plan: MemoryPlan) throws(ComputeError) {
    var pointers: [UnsafeMutableRawPointer] = []
    for bytes in [plan.constants, plan.persistent, plan.intermediates, plan.scratch] {
      guard let pointer = aligned_alloc(64, max(64, bytes)) else {
        pointers.forEach { free($0) }
        throw .outOfMemory(
          requested: plan.total, available: Int(clamping: ProcessInfo.processInfo.physicalMemory), device: deviceName)
      }
      pointers.append(pointer)
    }
    memset(pointers[1], 0, plan.persistent)
    (constants, persistent, intermediates, scratch) = (pointers[0], pointers[1], pointers[2], pointers[3])
  }

  deinit { for pointer in [constants, persistent, intermediates, scratch] { free(pointer) } }

  func address(_ region: MemoryAssignment.Region, _ offset: Int) -> UnsafeMutableRawPointer {
    switch region {
    case .constants: constants + offset
    case .persistent: persistent + offset
    case .intermediates: intermediates + offset
    }
  }
}

extension Graph {
  /// Names and types only.
  fileprivate func withoutConstants() -> Graph {
    var result = self
    result.rebuild(nodes: [], constants: [:])
    return result
  }
}
