/// What one GPU is preferred to another for: memory of its own, then how much it computes, then how much memory there is.
package struct DeviceStrength: Sendable, Comparable {
  private let key: (Int, Int, Int)

  /// - Parameters:
  ///   - sharesHostMemory: whether its memory is the host's.
  ///   - vendor: who made it: what a compute unit is differs from maker to maker.
  ///   - computeUnits: their number.
  ///   - clock: in MHz; 0 where it is not known.
  ///   - memory: in bytes.
  package init(sharesHostMemory: Bool, vendor: String, computeUnits: Int, clock: Int, memory: Int) {
    let name = vendor.lowercased()
    // Multiply-adds in f32 of a unit and cycle.
    let lanes = name.contains("nvidia") ? 128 : name.contains("intel") ? 8 : 64
    key = (sharesHostMemory ? 0 : 1, computeUnits * lanes * max(clock, 1), memory)
  }

  package static func < (left: Self, right: Self) -> Bool { left.key < right.key }
  package static func == (left: Self, right: Self) -> Bool { left.key == right.key }
}

extension OpenCLDevice {
  /// What it is preferred to others for.
  var strength: DeviceStrength {
    DeviceStrength(
      sharesHostMemory: sharesHostMemory, vendor: vendor, computeUnits: computeUnits, clock: clock, memory: memory)
  }
}
