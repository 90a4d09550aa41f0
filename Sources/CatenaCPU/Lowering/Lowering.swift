import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// Turns a graph into a plan: gives every value a layout, fuses nodes into steps, and notes what each step touches.
///
/// Values are views. Transposes, slices, splits, reshapes and expansions only make new views; a kernel that needs its
/// operand dense in some order asks for it, and gets a converted copy where the view does not already lie so.
final class Lowering {
  let graph: Graph
  let engine: Engine
  let threads: Int
  let readers: ValueReaders
  /// Values that must stay readable when a run is over.
  let observed: ValueSet
  /// Gradients of ReLU whose mask is where their second operand is not 0.
  let maskedByNonzero: ValueSet
  var plan = Plan()
  /// Where the plan's buffers lie; to be asked for once everything is lowered.
  private(set) lazy var assignment = plan.assignMemory()
  /// Where each value lies, once its producer is lowered.
  var views: ValueMap<View> = [:]
  /// The index of the group's last node, for the group being lowered.
  var position = 0
  /// The position at which each node runs.
  var positions: [Int]
  /// The layouts of inputs that something outside the graph decides.
  let inputLayouts: ValueMap<AxisOrder>
  /// What runs block by block between the graph's nodes.
  let section: LoweredSection?
  /// Values of type f32 that are kept in bf16.
  let narrowed: ValueSet
  /// Whether equal windows may give sums that differ in their last digits.
  let allowsMinimalFiltering: Bool
  /// The values that go into the section and come out of it.
  var crossings: [CrossingViews] = []
  private var conversions: [Conversion: View] = [:]
  private var constantViews: [Conversion: View] = [:]

  /// A value in a certain form.
  private struct Conversion: Hashable {
    var value: ValueID
    var layout: AxisOrder
    var storage: Storage
  }

  init(
    graph: Graph, observed: ValueSet, engine: Engine, threads: Int, section: LoweredSection? = nil,
    narrowed: ValueSet = [], allowsMinimalFiltering: Bool
  ) {
    let (graph, masked) = graph.maskingByGatedOutputs(observed: observed)
    self.graph = graph
    maskedByNonzero = masked
    self.engine = engine
    self.threads = threads
    self.observed = observed.union(section?.inputs.map(\.value).filter { graph.constants[$0] == nil } ?? [])
    self.section = section
    self.narrowed = narrowed
    self.allowsMinimalFiltering = allowsMinimalFiltering
    inputLayouts = section?.layouts ?? [:]
    readers = graph.readers()
    positions = Array(graph.nodes.indices)
  }

  // MARK: Views

  /// A new dense tensor.
  func allocate(_ shape: Shape, _ layout: AxisOrder, _ storage: Storage, _ kind: BufferKind = .intermediate) -> View {
    let buffer = plan.addBuffer(bytes: shape.elementCount * storage.byteCount, kind)
    return View(buffer: buffer, shape: shape, strides: layout.strides(of: shape), storage: storage)
  }

  /// How a value is kept.
  func storage(_ value: ValueID) -> Storage {
    if narrowed.contains(value) { return .bfloat16 }
    guard let storage = Storage(graph.type(value).elementType) else {
      preconditionFailure("\(graph.type(value)) passed the check of supported types")
    }
    return storage
  }

  /// Where a value lies, however that is, but with all its channels.
  func view(_ value: ValueID) -> View {
    if let view = views[value] {
      guard view.map != nil else { return view }
      let copy = copied(view, to: view.layout, storage(value), name: graph[value].name)
      views[value] = copy
      return copy
    }
    return constantView(value, .logical(rank: graph.shape(value).rank), storage(value))
  }

  /// A value as dense tensor of the given layout and element type, converted where it is not.
  func dense(_ value: ValueID, _ layout: AxisOrder, _ storage: Storage = .float32) -> View {
    if graph.constants[value] != nil { return constantView(value, layout, storage) }
    let view = view(value)
    if view.storage == storage, view.isDense(layout) { return view }
    let key = Conversion(value: value, layout: layout, storage: storage)
    if let converted = conversions[key] { return converted }
    let converted = copied(view, to: layout, storage, name: graph[value].name)
    conversions[key] = converted
    return converted
  }

  /// A value as f32 in row-major order.
  func logical(_ value: ValueID, _ storage: Storage = .float32) -> View {
    dense(value, .logical(rank: graph.shape(value).rank), storage)
  }

  /// A value as f32 with channels innermost.
  func channelsLast(_ value: ValueID) -> View { dense(value, .channelsLast(rank: graph.shape(value).rank)) }

  /// A new dense tensor with a view's elements.
  func copied(
    _ view: View, to layout: AxisOrder, _ storage: Storage, name: String, kind: BufferKind = .intermediate
  ) -> View {
    let result = allocate(view.shape, layout, storage, kind)
    addCopy(view, result, name: name)
    return result
  }

  /// Copies elements between views of one shape, converting their type.
  func addCopy(_ source: View, _ destination: View, name: String) {
    guard source.storage == destination.storage, source.map == nil else {
      addConversion(source, destination, name: name)
      return
    }
    let record = KernelRecord(
      name: name, kind: "copy", shape: source.shape, implementation: "catena", operations: 0,
      bytes: 2 * source.shape.elementCount * source.storage.byteCount)
    plan.steps.append(
      PlannedStep(record: record, reads: [source.buffer], writes: [destination.buffer]) { binder in
        let extents = source.shape.dimensions.map(Int64.init)
        catena_add_copy(
          binder.program, Int32(source.shape.rank), extents, binder.pointer(source), source.strides.map(Int64.init),
          binder.pointer(destination), destination.strides.map(Int64.init), Int32(source.storage.byteCount))
      })
  }

  /// Fills a dense view with zeros or another number.
  func addFill(_ destination: View, with value: Double, name: String) {
    let record = KernelRecord(
      name: name, kind: "fill", shape: destination.shape, implementation: "catena", operations: 0,
      bytes: destination.shape.elementCount * destination.storage.byteCount)
    let pattern = Tensor(doubles: [value], shape: .scalar, elementType: destination.storage.elementType)
    plan.steps.append(
      PlannedStep(record: record, reads: [], writes: [destination.buffer]) { binder in
        pattern.withUnsafeBytes { bytes in
          catena_add_fill(
            binder.program, binder.pointer(destination), Int64(destination.shape.elementCount), bytes.baseAddress,
            Int32(destination.storage.byteCount))
        }
      })
  }

  private func addConversion(_ source: View, _ destination: View, name: String) {
    var program = ElementwiseProgram(
      shape: source.shape, isInteger: !source.storage.isFloatingPoint && !destination.storage.isFloatingPoint)
    let from = program.addOperand(source, CATENA_READ)
    let to = program.addOperand(destination, CATENA_WRITE)
    program.append(CATENA_COPY, to, from)
    addElementwise(program, name: name, kind: "convert", shape: destination.shape)
  }

  // MARK: Constants

  /// A constant as dense tensor, brought into its form when the program is made.
  private func constantView(_ value: ValueID, _ layout: AxisOrder, _ storage: Storage) -> View {
    let key = Conversion(value: value, layout: layout, storage: storage)
    if let view = constantViews[key] { return view }
    guard let tensor = graph.constants[value] else {
      preconditionFailure("\(graph[value].name) is read before it is made")
    }
    let view = constant(tensor, layout, storage)
    constantViews[key] = view
    return view
  }

  /// A constant that is not the graph's own.
  func constant(_ tensor: Tensor, _ layout: AxisOrder, _ storage: Storage) -> View {
    let converted =
      Storage(tensor.elementType) == storage
      ? tensor : Tensor(doubles: tensor.doubles, shape: tensor.shape, elementType: storage.elementType)
    let strides = layout.strides(of: tensor.shape)
    return allocate(
      tensor.shape, layout, storage,
      .constant { address in
        converted.withUnsafeBytes { bytes in
          guard let source = bytes.baseAddress, bytes.count > 0 else { return }
          catena_copy(
            Int32(converted.shape.rank), converted.shape.dimensions.map(Int64.init), source,
            converted.shape.strides.map(Int64.init), address, strides.map(Int64.init), Int32(storage.byteCount),
            false)
        }
      })
  }

  // MARK: Results

  /// Says where a value lies. `result` may be f32 where the value is a narrower type: then it is rounded.
  func define(_ value: ValueID, _ result: View) {
    let type = storage(value)
    views[value] =
      result.storage == type ? result : copied(result, to: result.layout, type, name: graph[value].name)
  }

  /// Whether the memory of a value may be overwritten by the group being lowered, which reads it last.
  /// - Parameter node: the only node of the group that may read it; `nil` where any may.
  func dies(_ value: ValueID, readIn node: Int? = nil) -> Bool {
    guard let buffer = views[value]?.buffer, case .intermediate = plan.buffers[buffer.index].kind else { return false }
    return views.allSatisfy { other, view in
      guard view.buffer == buffer else { return true }
      return !observed.contains(other)
        && readers[other].allSatisfy { reader in
          positions[reader] < position || positions[reader] == position && (node ?? reader) == reader
        }
    } && conversions.values.allSatisfy { $0.buffer != buffer }
  }

  /// A kernel's record.
  func record(
    _ value: ValueID, _ kind: String, implementation: String = "catena", operations: Int = 0, inputs: [View] = []
  ) -> KernelRecord {
    let bytes = inputs.reduce(0) { $0 + $1.shape.elementCount * $1.storage.byteCount }
    return KernelRecord(
      name: graph[value].name, kind: kind, shape: graph.shape(value), implementation: implementation,
      operations: operations, bytes: bytes + graph.shape(value).elementCount * storage(value).byteCount)
  }

  /// Adds a step that reads `inputs` and writes `outputs`.
  func addStep(
    _ record: KernelRecord, reads inputs: [View], writes outputs: [View], scratch: Int = 0,
    _ bind: @escaping (Binder) throws(ComputeError) -> Void
  ) {
    plan.steps.append(
      PlannedStep(
        record: record, reads: inputs.map(\.buffer), writes: outputs.map(\.buffer), scratch: scratch, bind: bind))
  }
}

extension Storage {
  /// The graph's name for it.
  var elementType: ElementType {
    switch self {
    case .float32: .float32
    case .float16: .float16
    case .bfloat16: .bfloat16
    case .bool: .bool
    case .uint8: .uint8
    case .int8: .int8
    case .uint16: .uint16
    case .int16: .int16
    case .uint32: .uint32
    case .int32: .int32
    case .int64: .int64
    case .float64: .float64
    }
  }
}
