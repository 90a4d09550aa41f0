import CatenaTensors
import Foundation

/// The traits of every family of kernels: those that suit the device, and those that tuning found to be faster on it.
package struct KernelTraits: Sendable, Hashable {
  /// The traits of families that have none of their own.
  package let device: DeviceTraits
  /// The traits that tuning chose.
  package var tuned: [KernelFamily: DeviceTraits] = [:]
  /// Work-items that keep the whole device busy; a launch with fewer leaves a part of it idle.
  package let busyItems: Int

  /// One set of traits for all families, on a device with so many compute units.
  package init(_ device: DeviceTraits, computeUnits: Int = 2) {
    self.device = device
    busyItems = max(computeUnits, 1) * (device.tile == nil ? 128 : 512)
  }

  /// What suits the device.
  package init(_ device: OpenCLDevice) {
    self.init(DeviceTraits(device), computeUnits: device.computeUnits)
  }

  /// The same without what tuning chose.
  package var untuned: KernelTraits {
    var result = self
    result.tuned = [:]
    return result
  }

  /// In how many parts of `least` elements or more `count` elements are reduced, where a part has so many work-items.
  func parts(of count: Int, least: Int, items: Int) -> Int {
    max(1, min(count / least, dividedUp(busyItems, max(items, 1))))
  }

  /// The traits that a family is built with.
  package subscript(family: KernelFamily) -> DeviceTraits { tuned[family] ?? device }

  /// The build options of a family's program.
  package func buildOptions(_ family: KernelFamily) -> String {
    let own = family.buildOptions
    return own.isEmpty ? self[family].buildOptions : self[family].buildOptions + " " + own
  }

  /// Tells one choice of traits from another, since sums may be formed in another order; `nil` when nothing was tuned.
  var digest: String? {
    guard !tuned.isEmpty else { return nil }
    var hash = SHA256()
    for (family, traits) in tuned.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
      hash.update(Array("\(family.rawValue) \(traits.buildOptions) \(traits.rowsPerPart)\n".utf8))
    }
    return hash.digest().prefix(4).map { String(format: "%02x", $0) }.joined()
  }
}

extension DeviceTraits {
  /// Why kernels of these shapes cannot run on the device; `nil` when they can. The conditions are those of
  /// common/lanes.cl and common/tile.cl.
  package func problem(on device: OpenCLDevice) -> String? {
    guard [2, 4, 8, 16].contains(lanes) else { return "there are no vectors of \(lanes)" }
    guard (1...64).contains(pixels), (1...65536).contains(run), (1...65536).contains(rowsPerPart) else {
      return "a work-item's share is out of range"
    }
    guard (1...device.largestGroup).contains(groupSize) else {
      return "a group has \(groupSize) work-items, the device allows \(device.largestGroup)"
    }
    // What a group sums is halved until one number is left.
    guard groupSize.nonzeroBitCount == 1 else { return "a group of \(groupSize) work-items cannot be halved" }
    return tile.flatMap { $0.problem(lanes: lanes, on: device) }
  }
}

extension DeviceTraits.Tile {
  fileprivate func problem(lanes: Int, on device: OpenCLDevice) -> String? {
    let extents = [rows, columns, inner, itemRows, itemColumns]
    guard extents.allSatisfy({ $0 > 0 && $0 <= 1024 && $0.isMultiple(of: lanes) }),
      rows.isMultiple(of: itemRows), columns.isMultiple(of: itemColumns)
    else { return "the tile's extents are no multiples of each other" }
    // Whole rows are loaded in each pass of the group.
    let loaders = inner / lanes
    guard workItems.isMultiple(of: loaders), rows.isMultiple(of: workItems / loaders) else {
      return "the group cannot share out a tile's rows"
    }
    guard workItems <= device.largestGroup else {
      return "a group has \(workItems) work-items, the device allows \(device.largestGroup)"
    }
    let bytes = 4 * inner * (rows + lanes + columns)
    return bytes <= device.localMemory
      ? nil : "it needs \(bytes) bytes of local memory, there are \(device.localMemory)"
  }
}
