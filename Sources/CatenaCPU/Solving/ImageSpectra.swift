import CSolvers
import CatenaCompute

/// The images of a layer as transforms along their rows, until enough have come to add their correlations.
final class ImageSpectra {
  private let layer: LayerGeometry
  private let plan: CorrelationPlan
  private let problem: OpaquePointer
  private let memory: UnsafeMutableRawBufferPointer
  private let slots: Int
  private var used = 0
  /// By plane and channel, whether a pixel was not zero in the interior that all taps read.
  private var live: [Bool]

  let byteCount: Int
  let workingBytes: Int

  private var channels: Int { layer.groups * layer.channels }

  init(
    _ layer: LayerGeometry, _ plan: CorrelationPlan, cells: Int, isDouble: Bool, images: Int, threads: Int
  ) {
    self.layer = layer
    self.plan = plan
    slots = HessianCosts.slots(layer, plan, isDouble: isDouble, images: images)
    problem = Self.problem(layer, plan, cells: cells, slots: slots, isDouble: isDouble)
    memory = .allocate(byteCount: catena_spectra_bytes(problem), alignment: 64)
    byteCount = memory.count
    workingBytes = catena_spectra_scratch_bytes(problem, Int32(threads))
    live = [Bool](repeating: false, count: plan.planes.count * layer.groups * layer.channels)
  }

  deinit {
    catena_free_spectra(problem)
    memory.deallocate()
  }

  private static func problem(
    _ layer: LayerGeometry, _ plan: CorrelationPlan, cells: Int, slots: Int, isDouble: Bool
  ) -> OpaquePointer {
    let planes = plan.planes.map { catena_plane($0.rows, $0.columns) }
    let lags = plan.lags.map { $0.map(Int64.init) }
    return planes.withUnsafeBufferPointer { planes in
      lags[0].withUnsafeBufferPointer { rowLags in
        lags[1].withUnsafeBufferPointer { columnLags in
          plan.targets.withUnsafeBufferPointer { targets in
            var correlation = catena_correlation(
              height: Int64(layer.source[0]), width: Int64(layer.source[1]), groups: Int64(layer.groups),
              channels: Int64(layer.channels), planes: planes.baseAddress, plane_count: Int64(planes.count),
              size: (Int64(plan.size[0]), Int64(plan.size[1])), row_lags: rowLags.baseAddress,
              column_lags: columnLags.baseAddress, row_lag_count: Int64(rowLags.count),
              column_lag_count: Int64(columnLags.count), targets: targets.baseAddress, cells: Int64(cells),
              slots: Int64(slots), is_double: isDouble)
            guard let problem = catena_make_spectra(&correlation) else { preconditionFailure("no memory for tables") }
            return problem
          }
        }
      }
    }
  }

  /// Adds images, channels last, to what is pending, and what is pending to the sums where no more fit.
  func add(
    _ source: UnsafePointer<Float>, images: Int, into sums: UnsafeMutableRawPointer, scratch: SolverScratch
  ) {
    guard let spectra = memory.baseAddress else { preconditionFailure("an allocation has an address") }
    markLive(source, images)
    let pixels = layer.source[0] * layer.source[1] * channels
    var done = 0
    while done < images {
      if used == slots { finish(into: sums, scratch: scratch) }
      let count = min(images - done, slots - used)
      used = Int(
        catena_transform_images(
          problem, source + done * pixels, Int64(count), Int64(used), spectra, scratch.bytes(workingBytes)))
      done += count
    }
  }

  /// Adds what is pending to the sums.
  func finish(into sums: UnsafeMutableRawPointer, scratch: SolverScratch) {
    if used > 0 { catena_add_correlations(problem, memory.baseAddress, Int64(used), sums, scratch.bytes(workingBytes)) }
    used = 0
  }

  /// Whether a channel, of all groups, was anywhere not zero in the interior that all taps of a plane read.
  func isLive(plane: Int, channel: Int) -> Bool { live[plane * channels + channel] }

  private func markLive(_ source: UnsafePointer<Float>, _ images: Int) {
    live.withUnsafeMutableBufferPointer { live in
      for (index, plane) in plan.planes.enumerated() {
        for part in plane.interior {
          var part = catena_plane(part.rows, part.columns)
          catena_mark_live(
            source, Int64(images), Int64(layer.source[0]), Int64(layer.source[1]), Int64(channels), &part,
            live.baseAddress.map { $0 + index * channels })
        }
      }
    }
  }
}

extension catena_plane {
  init(_ rows: HessianPlan.Run, _ columns: HessianPlan.Run) {
    self.init(
      first_row: Int64(rows.first), row_step: Int64(rows.step), rows: Int64(rows.count),
      first_column: Int64(columns.first), column_step: Int64(columns.step), columns: Int64(columns.count))
  }
}
