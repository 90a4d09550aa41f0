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
  private let section: SectionProgram?
  /// Kernels of each record; `nil` for the blocks, whose kernels are the section's.
  private let kernelCounts: [Int?]
  /// Where inputs, outputs and carried values lie.
  private let views: ValueMap<View>
  private let addresses: [UnsafeMutableRawPointer]
  private let graph: Graph
  /// What kernels were bound to besides memory: primitives live as long as they.
  private let steps: [PlannedStep]

  /// Makes memory and kernels of a plan, unless they need more than `limit` bytes.
  /// - Parameter inputs: the values that may be written.
  init(
    _ lowering: Lowering, inputs: [ValueID], observed: ValueSet, limit: Int?
  ) throws(ComputeError) {
    let plan = lowering.plan
    let assignment = lowering.assignment
    bytes = lowering.bytes
    if let limit, bytes.total > limit {
      throw .outOfMemory(requested: bytes.total, available: limit, device: deviceName)
    }
    let memory = try ProgramMemory(assignment.bytes)
    let section = try lowering.section.map { (section) throws(ComputeError) in try SectionProgram(section) }
    let addresses = assignment.places.map { memory.address($0.region, $0.offset) }
    let binder = Binder(
      program: catena_program_create(), addresses: addresses, scratch: memory.scratch, threads: lowering.threads)
    self.memory = memory
    self.section = section
    self.addresses = addresses
    program = binder.program
    kernels = plan.steps.flatMap { $0.isSection ? section?.kernels ?? [] : [$0.record] }
    steps = plan.steps
    graph = lowering.graph.interface(inputs: inputs)
    views = lowering.views.filter { observed.contains($0.key) || inputs.contains($0.key) }
    var counts: [Int?] = []
    for step in plan.steps {
      let before = catena_program_step_count(program)
      if step.isSection { section?.bind(lowering.crossings, binder) } else { try step.bind(binder) }
      counts.append(step.isSection ? nil : catena_program_step_count(program) - before)
    }
    kernelCounts = counts
    try plan.fillConstants(addresses)
  }

  deinit { catena_program_destroy(program) }

  // MARK: Running

  func run() throws(ComputeError) { try catena_program_run(program, nil).check(device: deviceName) }

  /// Runs once. Returns the seconds of every kernel, in the order of `kernels`; of those of a block over all blocks.
  func runTimed() throws(ComputeError) -> [Double] {
    var seconds = [Double](repeating: 0, count: catena_program_step_count(program))
    section?.beginTiming()
    let status = catena_program_run(program, &seconds)
    let inside = section?.endTiming() ?? []
    try status.check(device: deviceName)
    var next = 0
    return kernelCounts.flatMap { count -> [Double] in
      defer { next += count ?? 1 }
      return count.map { [seconds[next..<next + $0].reduce(0, +)] } ?? inside
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
    return Tensor(elementType: type.elementType, shape: type.shape, isZeroed: false) { bytes in
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
      targetStrides.map(Int64.init), Int32(elementBytes), true)
  }
}
