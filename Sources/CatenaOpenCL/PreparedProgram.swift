import COpenCL
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A lowered program on a device: memory, and kernels with their arguments set. Used by one thread at a time.
final class PreparedProgram {
  let memoryPlan: MemoryPlan
  private let context: OpenCLContext
  private let queue: CommandQueue
  private let lowered: LoweredProgram
  private let constants: DeviceArena
  private let persistent: DeviceArena
  private let intermediates: DeviceArena
  private var step: [PreparedLaunch] = []
  /// What each launch of a step does.
  let records: [KernelRecord]

  /// Reserves memory, uploads constants and runs the preparation.
  init(_ lowered: LoweredProgram, in context: OpenCLContext, memoryLimit: Int?) throws(ComputeError) {
    let uses = SlotUses(lowered)
    let plans = [uses.constants, uses.persistent, uses.intermediates, uses.passing].map {
      DeviceArena.Plan($0, on: context.device)
    }
    memoryPlan = MemoryPlan(
      constants: plans[0].byteCount, persistent: plans[1].byteCount, intermediates: plans[2].byteCount,
      scratch: max(plans[3].byteCount, lowered.stagingBytes))
    if let memoryLimit, memoryPlan.total > memoryLimit {
      throw .outOfMemory(requested: memoryPlan.total, available: memoryLimit, device: context.device.name)
    }
    self.context = context
    records = lowered.step.map { KernelRecord($0, in: lowered) }
    queue = try CommandQueue(context)
    constants = try DeviceArena(plans[0], in: context)
    persistent = try DeviceArena(plans[1], in: context)
    intermediates = try DeviceArena(plans[2], in: context)
    // Only what a step needs from here on; constants' tensors are on the device.
    self.lowered = lowered.withoutTensors
    do throws(ComputeError) {
      try prepareConstants(lowered, uses, passing: try DeviceArena(plans[3], in: context))
    } catch {
      throw memoryShortage(error)
    }
    for launch in lowered.step { step.append(try prepare(launch, memory: memory(of:))) }
  }

  private func memory(of slot: SlotID) -> cl_mem? { constants[slot] ?? persistent[slot] ?? intermediates[slot] }

  private func prepareConstants(
    _ lowered: LoweredProgram, _ uses: SlotUses, passing: DeviceArena
  ) throws(ComputeError) {
    for (index, slot) in lowered.slots.enumerated() {
      guard case .constant(let tensor) = slot.role else { continue }
      let id = SlotID(index: index)
      guard let memory = constants[id] ?? passing[id] else { continue }
      try tensor.withUnsafeBytes { bytes throws(ComputeError) in try queue.write(bytes, to: memory) }
    }
    var launches: [PreparedLaunch] = []
    for (slot, _) in uses.persistent {
      let zero = Lowering.fillLaunch(slot, lowered.slots[slot.index], with: 0, traits: context.traits)
      launches.append(try prepare(zero, memory: memory(of:)))
    }
    for launch in lowered.preparation {
      launches.append(try prepare(launch) { passing[$0] ?? memory(of: $0) })
    }
    for launch in launches { try queue.enqueue(launch) }
    try queue.finish()
  }

  private func prepare(_ launch: Launch, memory: (SlotID) -> cl_mem?) throws(ComputeError) -> PreparedLaunch {
    let arguments: [KernelArgument] = launch.arguments.map { argument in
      switch argument {
      case .read(let slot), .write(let slot):
        guard let memory = memory(slot) else { preconditionFailure("\(launch.kernel) uses memory that nobody planned") }
        return .memory(memory)
      case .null: return .memory(nil)
      case .integers(let values): return .integers(values.map(Int32.init))
      case .floats(let values): return .floats(values)
      }
    }
    return try PreparedLaunch(
      launch.kernel, in: try context.program(launch.family), arguments: arguments,
      workItems: launch.workItems, groupSize: launch.groupSize ?? context.traits[launch.family].groupSize,
      device: context.device.name)
  }

  // MARK: Use

  /// Runs `steps` steps; at most two are under way at a time, so that `isCancelled` is heard soon.
  /// - Returns: Whether it was cancelled. Every step that began is complete.
  func run(steps: Int, isCancelled: () -> Bool) throws(ComputeError) -> Bool {
    do throws(ComputeError) {
      return try enqueue(steps: steps, isCancelled: isCancelled)
    } catch {
      throw memoryShortage(error)
    }
  }

  /// The error as a lack of memory where the driver meant one: many reserve memory when it is first used.
  private func memoryShortage(_ error: ComputeError) -> ComputeError {
    error.asMemoryShortage(requested: memoryPlan.total, available: context.pool.available)
  }

  /// Runs one step and returns the seconds of every launch, in the order of `records`.
  func runTimed(by clock: KernelClock = .device) throws(ComputeError) -> [Double] {
    let profiling = try CommandQueue(context, profiles: true)
    var seconds: [Double] = []
    do throws(ComputeError) {
      for launch in step {
        let start = clock == .processor ? KernelClock.processorSeconds : 0
        let marker = try profiling.enqueueProfiled(launch)
        try marker.wait()
        seconds.append(clock == .processor ? KernelClock.processorSeconds - start : try marker.seconds())
      }
    } catch {
      throw memoryShortage(error)
    }
    return seconds
  }

  private func enqueue(steps: Int, isCancelled: () -> Bool) throws(ComputeError) -> Bool {
    var previous: CommandQueue.Marker?
    var wasCancelled = false
    for _ in 0..<steps {
      if isCancelled() {
        wasCancelled = true
        break
      }
      for launch in step { try queue.enqueue(launch) }
      let marker = try queue.submit()
      if let previous = previous.take() { try previous.wait() }
      previous = consume marker
    }
    try queue.finish()
    try checkForFaults()
    return wasCancelled
  }

  /// Throws what kernels found wrong with the data since the last time.
  private func checkForFaults() throws(ComputeError) {
    guard let slot = lowered.fault, let memory = memory(of: slot) else { return }
    var code: Int32 = 0
    try withUnsafeMutableBytes(of: &code) { bytes throws(ComputeError) in try queue.read(bytes, from: memory) }
    guard let fault = KernelFunctions.Fault(rawValue: code), fault != .none else { return }
    var none = KernelFunctions.Fault.none.rawValue
    try withUnsafeBytes(of: &none) { bytes throws(ComputeError) in try queue.write(bytes, to: memory) }
    throw .invalidGraph(.invalid("\(fault.reason), in the data of the last run"))
  }

  /// Where an input lies.
  func location(ofInput value: ValueID) -> LoweredProgram.Location? { lowered.inputs[value] }

  /// Where an output or a carried input lies.
  func location(ofReadable value: ValueID) -> LoweredProgram.Location? { lowered.readable[value] }

  /// Copies a tensor to a location, in its layout.
  func write(_ tensor: Tensor, to location: LoweredProgram.Location) throws(ComputeError) {
    guard let target = memory(of: location.slot) else { return }
    try throughStaging(tensor.shape, location, isWrite: true) { memory throws(ComputeError) in
      try tensor.withUnsafeBytes { bytes throws(ComputeError) in try queue.write(bytes, to: memory ?? target) }
    }
  }

  /// Copies a value out, in row-major order.
  func read(_ shape: Shape, from location: LoweredProgram.Location) throws(ComputeError) -> Tensor {
    guard let source = memory(of: location.slot) else {
      return Tensor(zeros: shape, elementType: location.type)
    }
    var result: Tensor?
    try throughStaging(shape, location, isWrite: false) { memory throws(ComputeError) in
      result = try Tensor(elementType: location.type, shape: shape) { bytes throws(ComputeError) in
        try queue.read(bytes, from: memory ?? source)
      }
    }
    guard let result else { preconditionFailure("a transfer runs its body") }
    return result
  }

  /// Runs `transfer` on a row-major copy of the value when the value does not lie so itself.
  private func throughStaging(
    _ shape: Shape, _ location: LoweredProgram.Location, isWrite: Bool,
    _ transfer: (cl_mem?) throws(ComputeError) -> Void
  ) throws(ComputeError) {
    guard location.layout != .rowMajor, shape.elementCount > 0 else { return try transfer(nil) }
    let staging = try context.pool.allocate(shape.elementCount * location.type.byteCount)
    let stagingSlot = SlotID(index: lowered.slots.count)
    let (own, rowMajor) = (location.layout.strides(of: shape), shape.strides)
    let copy =
      isWrite
      ? Lowering.copyLaunch(
        from: stagingSlot, rowMajor, to: location.slot, own, shape.dimensions, byteCount: location.type.byteCount,
        traits: context.traits)
      : Lowering.copyLaunch(
        from: location.slot, own, to: stagingSlot, rowMajor, shape.dimensions, byteCount: location.type.byteCount,
        traits: context.traits)
    let stagingMemory = staging.memory
    let launch = try prepare(copy) { $0 == stagingSlot ? stagingMemory : memory(of: $0) }
    if isWrite { try transfer(stagingMemory) }
    try queue.enqueue(launch)
    if !isWrite { try transfer(stagingMemory) }
    // The staging memory goes back to the pool: nothing may be under way in it.
    try queue.finish()
    _ = consume staging
  }
}

/// The slots of a program by what they need memory for.
private struct SlotUses {
  var constants: [DeviceArena.Request] = []
  /// Constants that only the preparation reads.
  var passing: [DeviceArena.Request] = []
  var persistent: [DeviceArena.Request] = []
  var intermediates: [DeviceArena.Request] = []

  init(_ program: LoweredProgram) {
    var lifetimes: [SlotID: ClosedRange<Int>] = [:]
    for (index, launch) in program.step.enumerated() {
      for slot in launch.reads + launch.writes {
        lifetimes[slot] = (lifetimes[slot]?.lowerBound ?? index)...index
      }
    }
    let readable = Set(program.readable.values.map(\.slot))
    let prepared = Set(program.preparation.flatMap { $0.reads + $0.writes })
    for (index, slot) in program.slots.enumerated() {
      let id = SlotID(index: index)
      let always = (slot: id, request: ArenaPlan.Request(byteCount: slot.byteCount, lifetime: 0...0))
      switch slot.role {
      case .constant, .prepared:
        if lifetimes[id] != nil || readable.contains(id) {
          constants.append(always)
        } else if prepared.contains(id) {
          passing.append(always)
        }
      case .persistent: persistent.append(always)
      case .intermediate:
        if let lifetime = lifetimes[id] {
          intermediates.append((id, ArenaPlan.Request(byteCount: slot.byteCount, lifetime: lifetime)))
        }
      }
    }
  }
}

extension LoweredProgram {
  /// Memory for the largest value that is copied to or from the host through a copy of it in row-major order.
  fileprivate var stagingBytes: Int {
    let others = (inputs.values.map(\.self) + readable.values.map(\.self)).filter { $0.layout != .rowMajor }
    return others.map { BufferPool.sizeClass(slots[$0.slot.index].byteCount) }.max() ?? 0
  }

  /// Without the constants' tensors, which are large.
  fileprivate var withoutTensors: LoweredProgram {
    var result = self
    for index in slots.indices {
      if case .constant = slots[index].role { result.slots[index].role = .prepared }
    }
    result.preparation = []
    result.step = []
    return result
  }
}
