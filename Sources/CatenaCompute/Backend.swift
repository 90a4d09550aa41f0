import CatenaGraph
import CatenaTensors

/// Something that can run graphs: a processor, a device, the literal reference.
public protocol Backend: Sendable {
  /// What this back end runs on.
  var device: DeviceDescription { get }

  /// Plans and prepares `program`: chooses kernels and layouts, reserves all memory that runs will need.
  /// - Throws: `ComputeError.unsupported` naming every node it cannot run, `.outOfMemory` when the plan exceeds the
  ///   limit.
  func compile(_ program: Program, options: CompileOptions) async throws(ComputeError) -> any Executable

  /// Back ends for programs that run side by side and never wait for each other, each with a part of this one's
  /// processors; none where one program at a time fills the device.
  var lanes: [any Backend] { get }
}

extension Backend {
  /// None.
  public var lanes: [any Backend] { [] }
}

/// A device as people and manifests name it.
public struct DeviceDescription: Sendable, Hashable, Codable {
  /// `cpu`, `opencl` or `reference`.
  public var backend: String
  /// The processor's or device's own name.
  public var name: String
  /// The instruction set or driver version that results depend on.
  public var instructionSet: String
  /// Threads, or compute units.
  public var threads: Int
  /// Memory that may be planned for, in bytes; `nil` when unknown.
  public var memory: Int?

  /// A device.
  public init(backend: String, name: String, instructionSet: String, threads: Int, memory: Int?) {
    self.backend = backend
    self.name = name
    self.instructionSet = instructionSet
    self.threads = threads
    self.memory = memory
  }
}

/// A graph with what is carried from one run to the next.
public struct Program: Sendable {
  /// A value that persists: before a run the input holds what the output was after the last.
  public struct Carry: Sendable, Hashable {
    /// The graph input that is read.
    public var input: ValueID
    /// The value (of the same type) that replaces it after the run.
    public var output: ValueID

    /// Carries `output` over to `input`.
    public init(from output: ValueID, to input: ValueID) {
      self.input = input
      self.output = output
    }
  }
  /// What runs.
  public var graph: Graph
  /// What is carried.
  public var carries: [Carry]

  /// A program without or with carried values. Carried outputs need not be listed among the graph's outputs.
  public init(_ graph: Graph, carries: [Carry] = []) {
    self.graph = graph
    self.carries = carries
  }
}

/// How a program is to be compiled.
public struct CompileOptions: Sendable {
  /// The most bytes that the plan may hold, all told; `nil` for no limit of our own.
  public var memoryLimit: Int?
  /// The lowest precision that products may be computed in.
  public var precision: Precision
  /// Whether convolutions may be computed by minimal filtering (Winograd), which is faster, but rounds a sum differently
  /// from place to place: equal windows then give results that differ in their last digits.
  public var allowsMinimalFiltering: Bool

  /// The defaults, or a memory limit, a precision and whether equal windows may give unequal sums.
  public init(memoryLimit: Int? = nil, precision: Precision = .f32, allowsMinimalFiltering: Bool = true) {
    self.memoryLimit = memoryLimit
    self.precision = precision
    self.allowsMinimalFiltering = allowsMinimalFiltering
  }
}

/// A compiled program with its memory. Inputs keep what was last written to them; outputs hold the last run's results.
///
/// One run at a time: concurrent calls are served in order of arrival.
public protocol Executable: AnyObject, Sendable {
  /// Every byte that this executable holds.
  var memoryPlan: MemoryPlan { get }

  /// Copies `tensor` (of the value's type) into a graph input. Carried inputs start here and may be reset here.
  func write(_ tensor: Tensor, to input: ValueID) async throws(ComputeError)

  /// Runs the program `steps` times. Between steps it looks whether the task is cancelled.
  /// - Throws: `ComputeError.cancelled` after the step in progress; all values are those of whole steps.
  func run(steps: Int) async throws(ComputeError)

  /// Copies out a graph output or a carried input.
  func read(_ value: ValueID) async throws(ComputeError) -> Tensor
}

/// The bytes an executable holds, by purpose.
public struct MemoryPlan: Sendable, Hashable, Codable {
  /// Weights and other constants, in the form in which kernels read them.
  public var constants: Int
  /// Inputs, outputs and carried values, which live as long as the executable.
  public var persistent: Int
  /// Intermediate values, which share one arena.
  public var intermediates: Int
  /// Kernels' scratch memory.
  public var scratch: Int
  /// All of it.
  public var total: Int { constants + persistent + intermediates + scratch }

  /// A plan.
  public init(constants: Int, persistent: Int, intermediates: Int, scratch: Int) {
    self.constants = constants
    self.persistent = persistent
    self.intermediates = intermediates
    self.scratch = scratch
  }
}
