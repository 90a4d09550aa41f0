import COneDNN
import CatenaCompute

/// The blocks of a section: a program per lane, with memory of its own and weights that all lanes share.
final class SectionProgram: @unchecked Sendable {
  /// One record per kernel of a block, counted over all blocks.
  let kernels: [KernelRecord]
  private let division: LoweredSection.Division
  private let memories: [ProgramMemory]
  private let binders: [Binder]
  private let kernelCounts: [Int]
  /// What kernels were bound to besides memory.
  private let steps: [PlannedStep]
  // Used by the program's thread alone: the handle, and where times go while they are measured.
  private var handle: OpaquePointer?
  private var seconds: UnsafeMutableBufferPointer<Double>

  /// Makes memory and kernels of every lane.
  init(_ section: LoweredSection) throws(ComputeError) {
    division = section.division
    let plan = section.body.plan
    let assignment = section.body.assignment
    var memories: [ProgramMemory] = []
    var binders: [Binder] = []
    var counts: [Int] = []
    for _ in 0..<section.division.lanes {
      let memory = try ProgramMemory(assignment.bytes, sharing: memories.first)
      let addresses = assignment.places.map { memory.address($0.region, $0.offset) }
      let binder = Binder(
        program: catena_program_create(), addresses: addresses, scratch: memory.scratch, threads: section.body.threads)
      memories.append(memory)
      binders.append(binder)
      counts = []
      for step in plan.steps {
        let before = catena_program_step_count(binder.program)
        try step.bind(binder)
        counts.append(catena_program_step_count(binder.program) - before)
      }
    }
    try plan.fillConstants(binders[0].addresses)
    (self.memories, self.binders, kernelCounts, steps) = (memories, binders, counts, plan.steps)
    kernels = plan.steps.map { step in
      var record = step.record
      record.operations *= section.division.blocks
      record.bytes *= section.division.blocks
      return record
    }
    seconds = UnsafeMutableBufferPointer<Double>.allocate(capacity: counts.reduce(0, +))
    seconds.initialize(repeating: 0)
  }

  deinit { seconds.deallocate() }

  /// Adds the step to the program around it, which owns the lanes' programs from now on.
  func bind(_ crossings: [CrossingViews], _ binder: Binder) {
    let descriptions = crossings.map { $0.description(binder, division) }
    let locals = binders.flatMap { lane in crossings.map { Optional(lane.pointer($0.port.inside)) } }
    var description = catena_block_section()
    description.blocks = Int64(division.blocks)
    description.lanes = Int32(division.lanes)
    description.crossing_count = Int32(crossings.count)
    let bodies = binders.map { Optional($0.program) }
    handle = catena_add_blocks(binder.program, &description, bodies, descriptions, locals)
  }

  /// Lets the next run be timed.
  func beginTiming() { catena_time_blocks(handle, seconds.baseAddress) }

  /// The seconds of every kernel, over all blocks.
  func endTiming() -> [Double] {
    catena_time_blocks(handle, nil)
    var next = 0
    return kernelCounts.map { count in
      defer { next += count }
      return seconds[next..<next + count].reduce(0, +)
    }
  }
}
