import CSolvers
import CatenaCompute
import CatenaTensors

/// The running sums of a layer's products, in single precision or, for the exact solver, in double. Used by one thread at a
/// time.
final class HessianProducts: @unchecked Sendable {
  private let layer: LayerGeometry
  private let plan: HessianPlan
  private let isDouble: Bool
  private let isDepthwise: Bool
  /// Whether the images are read where they lie.
  private let isInPlace: Bool
  private let cells: [catena_cell]
  /// The cells, those of the most positions first.
  private let order: [Int32]
  private let memory: UnsafeMutableRawBufferPointer
  /// The transforms of the images, where whole images are correlated.
  private let spectra: ImageSpectra?

  /// Bytes that are held from the first image to the solution.
  var byteCount: Int { memory.count + (spectra?.byteCount ?? 0) }

  /// Whether whole images are correlated.
  var hasCorrelations: Bool { spectra != nil }

  /// Sums of zero.
  /// - Parameters:
  ///   - layer: The layer.
  ///   - isDouble: Whether the sums are of double precision.
  ///   - images: The most images that usually come at once.
  ///   - threads: The threads of the team.
  ///   - withCorrelations: Whether whole images are correlated; `nil` for what is cheaper.
  init(
    _ layer: LayerGeometry, isDouble: Bool, images: Int, threads: Int, withCorrelations: Bool?
  ) {
    self.layer = layer
    isDepthwise = layer.channels == 1 && layer.groups > 1
    let plan =
      withCorrelations.map { HessianPlan(layer, withCorrelations: $0) }
      ?? HessianCosts.cheapest(layer, isDouble: isDouble, images: images)
    self.plan = plan
    self.isDouble = isDouble
    spectra = plan.correlations.map {
      ImageSpectra(layer, $0, cells: plan.count, isDouble: isDouble, images: images, threads: threads)
    }
    // Those of the correlations have no positions: they are never asked for.
    let cells =
      [catena_cell](repeating: catena_cell(), count: plan.correlationCount)
      + plan.cells.map { catena_cell($0, plan.columnRuns) }
    self.cells = cells
    order = (plan.correlationCount..<plan.count).sorted {
      (cells[$0].positions, $1) > (cells[$1].positions, $0)
    }.map(Int32.init)
    isInPlace = !isDepthwise && catena_can_add_cells(Int64(layer.channels), Int64(layer.groups))
    let elements =
      isDepthwise
      ? layer.taps * layer.taps * layer.groups : layer.groups * plan.count * layer.channels * layer.channels
    let bytes = max(64, elements * (isDouble || isDepthwise ? 8 : 4))
    memory = .allocate(byteCount: bytes, alignment: 64)
    memory.initializeMemory(as: UInt8.self, repeating: 0)
  }

  deinit { memory.deallocate() }

  private var address: UnsafeMutableRawPointer {
    guard let address = memory.baseAddress else { preconditionFailure("an allocation has an address") }
    return address
  }

  /// All channels, of all groups.
  private var channels: Int { layer.groups * layer.channels }
  private var elementBytes: Int { isDouble ? 8 : 4 }

  /// Whether the image itself, its pixels in any order, is the matrix.
  private var isPointwise: Bool {
    layer.taps == 1 && layer.strides == [1, 1] && layer.pads == [0, 0] && layer.source == layer.destination
  }

  /// Bytes of scratch that adding `images` images needs, or what is pending of them.
  func workingBytes(images: Int) -> Int { max(packedBytes(images: images), spectra?.workingBytes ?? 0) }

  /// Bytes of the gathered columns of `images` images.
  private func packedBytes(images: Int) -> Int {
    if isDepthwise || isInPlace || (isPointwise && !isDouble) { return 0 }
    let columns = isPointwise ? layer.source[1] : plan.columnRuns.reduce(0) { $0 + $1.count }
    return images * layer.source[0] * columns * channels * elementBytes
  }

  /// Adds `images` images, channels last.
  func add(_ source: UnsafePointer<Float>, images: Int, scratch: SolverScratch) {
    spectra?.add(source, images: images, into: address, scratch: scratch)
    if isDepthwise {
      addDepthwise(source, images: images)
    } else if isInPlace {
      addInPlace(source, images: images)
    } else if isPointwise {
      addPointwise(source, images: images, scratch: scratch)
    } else {
      addConvolution(source, images: images, scratch: scratch)
    }
  }

  /// Adds what is pending: before the Hessian is assembled.
  func finish(scratch: SolverScratch) { spectra?.finish(into: address, scratch: scratch) }

  private func addDepthwise(_ source: UnsafePointer<Float>, images: Int) {
    func two(_ extents: [Int]) -> (Int64, Int64) { (Int64(extents[0]), Int64(extents[1])) }
    let problem = catena_depthwise(
      images: Int64(images), channels: Int64(channels), source: two(layer.source),
      destination: two(layer.destination), kernel: two(layer.kernel), strides: two(layer.strides),
      dilations: two(layer.dilations), pads: two(layer.pads))
    withUnsafePointer(to: problem) {
      catena_depthwise_hessian($0, source, address.assumingMemoryBound(to: Double.self))
    }
  }

  private func addInPlace(_ source: UnsafePointer<Float>, images: Int) {
    if order.isEmpty { return }
    cells.withUnsafeBufferPointer { cells in
      order.withUnsafeBufferPointer { order in
        var problem = catena_cells(
          images: Int64(images), height: Int64(layer.source[0]), width: Int64(layer.source[1]),
          groups: Int64(layer.groups), channels: Int64(layer.channels), cells: cells.baseAddress,
          order: order.baseAddress, order_count: Int64(order.count), count: Int64(cells.count), is_double: isDouble)
        catena_add_cells(&problem, source, address)
      }
    }
  }

  private func addPointwise(_ source: UnsafePointer<Float>, images: Int, scratch: SolverScratch) {
    let pixels = images * layer.source[0] * layer.source[1]
    var matrix = UnsafeRawPointer(source)
    if isDouble {
      let packed = scratch.bytes(pixels * channels * 8)
      catena_pack_columns(
        source, 1, 1, Int64(pixels), Int64(channels), 0, 1, Int64(pixels), packed, true)
      matrix = UnsafeRawPointer(packed)
    }
    let side = HessianPlan.Side(start: matrix, positions: pixels, parts: 1, partStep: 0)
    add([product(side, side.start, group: 0, cell: 0, isSymmetric: true)])
  }

  private func addConvolution(_ source: UnsafePointer<Float>, images: Int, scratch: SolverScratch) {
    let packed = UnsafeRawPointer(scratch.bytes(packedBytes(images: images)))
    var offsets: [Int] = []
    var next = 0
    for run in plan.columnRuns {
      catena_pack_columns(
        source, Int64(images), Int64(layer.source[0]), Int64(layer.source[1]), Int64(channels), Int64(run.first),
        Int64(run.step), Int64(run.count), UnsafeMutableRawPointer(mutating: packed) + next, isDouble)
      offsets.append(next)
      next += images * layer.source[0] * run.count * channels * elementBytes
    }
    add(
      plan.cells.enumerated().map { index, cell in
        let pixels = images * plan.columnRuns[cell.leftColumns].count
        let rowBytes = pixels * channels * elementBytes
        let right = packed + offsets[cell.rightColumns] + (cell.rows.first + cell.rowDistance) * rowBytes
        // Neighbouring rows are one matrix.
        let parts = cell.rows.step == 1 ? 1 : cell.rows.count
        let left = HessianPlan.Side(
          start: packed + offsets[cell.leftColumns] + cell.rows.first * rowBytes,
          positions: cell.rows.count / parts * pixels, parts: parts, partStep: cell.rows.step * pixels * channels)
        return product(
          left, right, group: 0, cell: plan.correlationCount + index, isSymmetric: cell.isSymmetric)
      })
  }

  private func place(group: Int, cell: Int) -> UnsafeMutableRawPointer {
    address + (group * plan.count + cell) * layer.channels * layer.channels * elementBytes
  }

  private func product(
    _ left: HessianPlan.Side, _ right: UnsafeRawPointer, group: Int, cell: Int, isSymmetric: Bool
  ) -> catena_product {
    catena_product(
      left: left.start, right: right, positions: Int64(left.positions), parts: Int64(left.parts),
      part_step: Int64(left.partStep), target: place(group: group, cell: cell), is_symmetric: isSymmetric)
  }

  /// Adds the products of all groups; given are those of the first, one per cell that is no correlation.
  private func add(_ first: [catena_product]) {
    var products: [catena_product] = []
    var sequence: [Int32] = []
    for group in 0..<layer.groups {
      let shift = group * layer.channels * elementBytes
      for (cell, product) in first.enumerated() {
        var product = product
        product.left += shift
        product.right += shift
        product.target = place(group: group, cell: plan.correlationCount + cell)
        products.append(product)
      }
      sequence += order.map { Int32(group * first.count - plan.correlationCount) + $0 }
    }
    catena_add_products(
      products, sequence, Int64(products.count), Int64(layer.channels), Int64(channels), isDouble)
  }

  // MARK: Assembly

  /// Writes `scale` times a group's Hessian, columns in the order (channel, tap).
  func assemble(group: Int, scale: Double, into hessian: UnsafeMutableRawPointer) {
    if isDepthwise {
      if isDouble {
        assembleDepthwise(group, scale, hessian.assumingMemoryBound(to: Double.self)) { $0 }
      } else {
        assembleDepthwise(group, scale, hessian.assumingMemoryBound(to: Float.self)) { Float($0) }
      }
      return
    }
    let symmetric = plan.cells.indices.filter { plan.cells[$0].isSymmetric }.map { plan.correlationCount + $0 }
    for cell in symmetric + (plan.correlations?.symmetric ?? []) {
      let target = place(group: group, cell: cell)
      if isDouble {
        mirror(target.assumingMemoryBound(to: Double.self))
      } else {
        mirror(target.assumingMemoryBound(to: Float.self))
      }
    }
    turnCorrelations(group)
    catena_assemble_hessian(
      place(group: group, cell: 0), isDouble, Int64(layer.channels), Int64(layer.taps), plan.starts, plan.members,
      scale, hessian)
    turnCorrelations(group)
    guard let spectra, let plan = plan.correlations else { return }
    if isDouble {
      setRims(group, spectra, plan, scale, hessian.assumingMemoryBound(to: Double.self))
    } else {
      setRims(group, spectra, plan, Float(scale), hessian.assumingMemoryBound(to: Float.self))
    }
  }

  private func turnCorrelations(_ group: Int) {
    for cell in plan.correlations?.turned ?? [] {
      catena_turn_squares(place(group: group, cell: cell), Int64(layer.channels), isDouble)
    }
  }

  /// The columns of channels that are zero in the interior that all taps read: differences of sums leave rounding where
  /// nothing should be, so their diagonals are summed up from the strips that the tap does read, and columns of zeros are.
  private func setRims<Element: BinaryFloatingPoint>(
    _ group: Int, _ spectra: ImageSpectra, _ correlations: CorrelationPlan, _ scale: Element,
    _ hessian: UnsafeMutablePointer<Element>
  ) {
    let (taps, columns) = (layer.taps, layer.columns)
    for (tap, rim) in correlations.rims.enumerated() {
      for channel in 0..<layer.channels
      where !spectra.isLive(plane: rim.plane, channel: group * layer.channels + channel) {
        let sum = rim.cells.reduce(Element(0)) { sum, cell in
          let target = place(group: group, cell: cell).assumingMemoryBound(to: Element.self)
          return sum + target[channel * layer.channels + channel]
        }
        let column = channel * taps + tap
        if sum == 0 {
          for other in 0..<columns {
            hessian[column * columns + other] = 0
            hessian[other * columns + column] = 0
          }
        }
        hessian[column * columns + column] = scale * sum
      }
    }
  }

  private func mirror<Element>(_ matrix: UnsafeMutablePointer<Element>) {
    let size = layer.channels
    for row in 0..<size {
      for column in 0..<row { matrix[column &* size &+ row] = matrix[row &* size &+ column] }
    }
  }

  private func assembleDepthwise<Element>(
    _ channel: Int, _ scale: Double, _ hessian: UnsafeMutablePointer<Element>, _ rounded: (Double) -> Element
  ) {
    let sums = address.assumingMemoryBound(to: Double.self)
    let taps = layer.taps
    for t in 0..<taps {
      for u in t..<taps {
        let value = rounded(sums[(t * taps + u) * channels + channel] * scale)
        hessian[t * taps + u] = value
        hessian[u * taps + t] = value
      }
    }
  }
}

extension HessianPlan {
  /// Where a product's rows lie.
  fileprivate struct Side {
    var start: UnsafeRawPointer
    var positions: Int
    var parts: Int
    var partStep: Int
  }
}

extension catena_cell {
  fileprivate init(_ cell: HessianPlan.Cell, _ runs: [HessianPlan.Run]) {
    let (left, right) = (runs[cell.leftColumns], runs[cell.rightColumns])
    self.init(
      first_row: Int64(cell.rows.first), row_step: Int64(cell.rows.step), rows: Int64(cell.rows.count),
      row_distance: Int64(cell.rowDistance), first_column: Int64(left.first), column_step: Int64(left.step),
      columns: Int64(left.count), column_distance: Int64(right.first - left.first))
  }

  fileprivate var positions: Int64 { rows * columns }
}
