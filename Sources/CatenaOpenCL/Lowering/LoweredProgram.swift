import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Names a piece of device memory of a lowered program.
struct SlotID: Sendable, Hashable {
  let index: Int
}

/// A piece of device memory and what it is for.
struct Slot: Sendable {
  enum Role: Sendable {
    /// Holds a constant as the graph gives it.
    case constant(Tensor)
    /// Holds what the preparation makes of constants.
    case prepared
    /// Lives as long as the executable.
    case persistent
    /// Shares memory with others that live at other times.
    case intermediate
  }
  var elementCount: Int
  var type: ElementType
  var role: Role

  var byteCount: Int { elementCount * type.byteCount }
  /// Whether its contents depend on constants alone.
  var isConstant: Bool {
    switch role {
    case .constant, .prepared: true
    case .persistent, .intermediate: false
    }
  }
}

/// One kernel launch as the planner sees it.
struct Launch: Sendable {
  enum Argument: Sendable {
    case read(SlotID)
    case write(SlotID)
    case null
    /// One number, or a vector of 2, 4 or 8.
    case integers([Int])
    case floats([Float])
  }
  var family: KernelFamily
  var kernel: String
  var arguments: [Argument]
  var workItems: Int
  /// Work-items per group; `nil` for as many as the device's other kernels have.
  var groupSize: Int?
  /// Floating-point operations of a product; `nil` for kernels whose work is the elements that they write.
  var operations: Int?
  /// The extents that it works on, for measurements.
  var shape: [Int] = []

  var reads: [SlotID] {
    arguments.compactMap { if case .read(let slot) = $0 { slot } else { nil } }
  }
  var writes: [SlotID] {
    arguments.compactMap { if case .write(let slot) = $0 { slot } else { nil } }
  }
}

/// A program as launches on slots. A value: what is planned can be looked at without a device.
struct LoweredProgram: Sendable {
  /// Where a value lies and how.
  struct Location: Sendable, Hashable {
    var slot: SlotID
    var layout: Layout
    /// The type in memory.
    var type: ElementType
  }
  var slots: [Slot] = []
  /// Run once, when compiled: what is made of constants alone.
  var preparation: [Launch] = []
  /// Run in every step.
  var step: [Launch] = []
  /// Graph inputs.
  var inputs: ValueMap<Location> = [:]
  /// Values that can be read: graph outputs and carried inputs.
  var readable: ValueMap<Location> = [:]
  /// Where kernels note what they find wrong with the data (`KernelFunctions.Fault`); `nil` when none does.
  var fault: SlotID?
  /// How many launches only change a layout.
  var layoutConversions = 0
}
