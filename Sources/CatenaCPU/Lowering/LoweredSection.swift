import COneDNN
import CatenaCompute
import CatenaGraph
import CatenaTensors

/// A section whose block has been lowered.
struct LoweredSection {
  /// One value that crosses, and where it lies inside a block.
  struct Port {
    var value: ValueID
    var crossing: BatchSection.Crossing
    var inside: View
  }
  /// Into how many blocks the samples are divided, of how many regions, and how many lanes share them.
  struct Division {
    var blocks: Int
    var regions: Int
    var lanes: Int
  }
  let body: Lowering
  let blocking: Blocking
  let division: Division
  let inputs: [Port]
  let outputs: [Port]
  /// How many nodes of the graph around it run before it.
  let boundary: Int

  init(_ section: BatchSection, _ blocking: Blocking, _ body: Lowering) {
    self.body = body
    self.blocking = blocking
    division = Division(
      blocks: section.samples / blocking.blockSize, regions: section.regions, lanes: blocking.lanes)
    boundary = section.before.count
    inputs = section.inputs.map { Port(value: $0.value, crossing: $0.crossing, inside: body.view($0.value)) }
    outputs = section.outputs.map {
      Port(value: $0.value, crossing: $0.crossing, inside: body.leavingView($0.value))
    }
  }

  /// The layouts that crossing values have outside, so that a block of them is one piece of memory.
  var layouts: ValueMap<AxisOrder> {
    ValueMap((inputs + outputs).map { ($0.value, $0.inside.layout) }) { first, _ in first }
  }
}

extension Lowering {
  /// All memory that the program will hold.
  var bytes: MemoryPlan {
    var bytes = assignment.bytes
    guard let section else { return bytes }
    let body = section.body.assignment.bytes
    bytes.constants += body.constants
    bytes.persistent += section.blocking.lanes * body.persistent
    bytes.intermediates += section.blocking.lanes * body.intermediates
    bytes.scratch += section.blocking.lanes * body.scratch
    return bytes
  }

  /// An output as one piece of memory whose outermost axis is the first.
  fileprivate func leavingView(_ value: ValueID) -> View {
    let view = view(value)
    if view.isDense, view.layout.order.first == 0 { return view }
    return copied(
      view, to: .logical(rank: view.shape.rank), view.storage, name: graph[value].name, kind: .persistent)
  }

  /// Adds the step that runs all blocks.
  func addSection(_ section: LoweredSection) {
    let inputs = section.inputs.map { port in
      CrossingViews(
        port: port, isOutput: false, outside: outsideView(of: port), partials: nil)
    }
    let outputs = section.outputs.map { port in
      let partials =
        port.crossing == .sums
        ? allocate(
          [section.division.blocks, port.inside.shape.elementCount], .logical(rank: 2), .float32) : nil
      return CrossingViews(port: port, isOutput: true, outside: view(port.value), partials: partials)
    }
    crossings = inputs + outputs
    let name = section.outputs.first.map { graph[$0.value].name } ?? ""
    let record = KernelRecord(
      name: name, kind: "blocks", shape: [section.division.blocks, section.blocking.blockSize],
      implementation: "catena",
      operations: 0, bytes: 0)
    var step = PlannedStep(
      record: record, reads: inputs.map(\.outside.buffer),
      writes: outputs.map(\.outside.buffer) + outputs.compactMap(\.partials?.buffer)
    ) { _ in }
    step.isSection = true
    plan.steps.append(step)
  }

  private func outsideView(of port: LoweredSection.Port) -> View {
    if case .regions = port.crossing {
      let rows = view(port.value)
      let isReadable = rows.storage == port.inside.storage && (rows.strides[1] == 1 || rows.shape[1] == 1)
      return isReadable ? rows : logical(port.value, port.inside.storage)
    }
    return dense(port.value, port.inside.layout, port.inside.storage)
  }
}

/// Where a crossing value lies outside.
struct CrossingViews {
  var port: LoweredSection.Port
  var isOutput: Bool
  var outside: View
  /// What every block adds to the sums.
  var partials: View?

  /// For the kernel, once addresses are known.
  func description(_ binder: Binder, _ division: LoweredSection.Division) -> catena_crossing {
    let bytes = port.inside.shape.elementCount * port.inside.storage.byteCount
    var result = catena_crossing()
    result.is_output = isOutput
    result.bytes = bytes
    result.blocks_per_part = 1
    result.stride_bytes = Int64(bytes)
    result.data = binder.pointer(outside)
    switch port.crossing {
    case .whole: result.stride_bytes = 0
    case .samples: break
    case .regions:
      result.blocks_per_part = Int64(division.blocks / division.regions)
      result.stride_bytes = outside.shape[0] > 1 ? Int64(outside.strides[0] * outside.storage.byteCount) : 0
    case .sums:
      guard let partials else { preconditionFailure("sums have partial sums") }
      result.data = binder.pointer(partials)
      result.sums = binder.floats(outside)
      // With more gradients than regions every row has its blocks; a gate that all regions share has all of them.
      result.blocks_per_sum = Int64(division.blocks / outside.shape[0])
    }
    return result
  }
}
