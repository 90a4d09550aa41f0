/// What differs from device to device, in one place: the shapes of kernels and the build options that follow.
package struct DeviceTraits: Sendable, Hashable, Codable {
  /// Channels in one vector.
  package var lanes: Int
  /// Output positions (or matrix rows) that one work-item owns.
  package var pixels: Int
  /// Consecutive elements that one work-item of an element-wise kernel walks.
  package var run: Int
  /// Work-items per group, the same in every kernel.
  package var groupSize: Int
  /// Rows that one work-item of a reduction's first stage walks, at least.
  package var rowsPerPart: Int
  /// Whether inline PTX for tensor cores can be built (sm_80 and later).
  var hasTensorPTX = false
  /// Whether the device can divide and take roots in f32 as exactly as the CPU does, when asked to: OpenCL allows errors
  /// of several units in the last place.
  var roundsDivisions = false
  /// Whether the compiler is clang for a CPU, whose built-in function asks for memory ahead of time.
  var hasPrefetch = false

  /// Columns of a work-item that walks down rows: STEP of common/lanes.cl.
  var step: Int { min(max(run / lanes, 1), 4) * lanes }

  /// The tile of products in local memory; `nil` where work-items that cooperate cost more than they save.
  package var tile: Tile?

  /// The tile of a work-group's product and each work-item's part of it; common/tile.cl has the same words.
  package struct Tile: Sendable, Hashable, Codable {
    /// MWG: rows of a group.
    package var rows: Int
    /// NWG: columns of a group.
    package var columns: Int
    /// KWG: steps along the inner axis between two barriers.
    package var inner: Int
    /// MWI: rows of a work-item.
    package var itemRows: Int
    /// NWI: columns of a work-item, a multiple of the lanes.
    package var itemColumns: Int

    /// A tile.
    package init(rows: Int, columns: Int, inner: Int, itemRows: Int, itemColumns: Int) {
      self.rows = rows
      self.columns = columns
      self.inner = inner
      self.itemRows = itemRows
      self.itemColumns = itemColumns
    }

    /// Work-items of a group.
    var workItems: Int { rows / itemRows * (columns / itemColumns) }

    /// Whether enough of a tile's columns would be used: else a kernel without tiles wastes less.
    func suits(columns count: Int) -> Bool { count * 4 >= columns }

    /// How many tiles cover a product.
    func count(rows rowCount: Int, columns columnCount: Int) -> Int {
      dividedUp(rowCount, rows) * dividedUp(columnCount, columns)
    }

    fileprivate var buildOptions: String {
      " -DMWG=\(rows) -DNWG=\(columns) -DKWG=\(inner) -DMWI=\(itemRows) -DNWI=\(itemColumns)"
    }
  }

  /// What suits the device.
  package init(_ device: OpenCLDevice) {
    self.init(kind: device.kind)
    hasTensorPTX = Self.hasTensorPTX(architecture: device.architecture)
    roundsDivisions = device.roundsDivisions
    hasPrefetch = device.kind == .cpu && device.platform == Self.pocl
  }

  /// What suits devices of that kind.
  package init(kind: OpenCLDevice.Kind) {
    switch kind {
    case .cpu:
      // A work-item is a loop body on one core: long vectors, much work each, no cooperation between work-items.
      self.init(lanes: 16, pixels: 8, run: 64, groupSize: 8, rowsPerPart: 256, tile: nil)
    case .gpu, .accelerator, .other:
      // Registers are per work-item and neighbours read together: short vectors, little work each.
      self.init(
        lanes: 4, pixels: 4, run: 1, groupSize: 64, rowsPerPart: 64,
        tile: Tile(rows: 64, columns: 64, inner: 16, itemRows: 8, itemColumns: 8))
    }
  }

  init(lanes: Int, pixels: Int, run: Int, groupSize: Int, rowsPerPart: Int, tile: Tile?) {
    self.lanes = lanes
    self.pixels = pixels
    self.run = run
    self.groupSize = groupSize
    self.rowsPerPart = rowsPerPart
    self.tile = tile
  }

  /// The build options of every program. None relaxes the mathematics: results are compared with the reference.
  package var buildOptions: String {
    "-cl-std=CL1.2 -DLANES=\(lanes) -DPIXELS=\(pixels) -DRUN=\(run) -DGROUP_SIZE=\(groupSize) "
      + "-DTENSOR_PTX=\(hasTensorPTX ? 1 : 0)"
      + (roundsDivisions ? " -cl-fp32-correctly-rounded-divide-sqrt" : "") + (hasPrefetch ? " -DPREFETCH" : "")
      + (tile?.buildOptions ?? "")
  }

  /// The instruction set of an NVIDIA device of that compute capability; empty for other devices.
  static func nvidiaArchitecture(major: Int, minor: Int) -> String { major > 0 ? "sm_\(major)\(minor)" : "" }

  /// Whether a device of that instruction set has `mma.sync` for tf32 and bf16, `ldmatrix` and `cp.async`.
  static func hasTensorPTX(architecture: String) -> Bool {
    architecture.hasPrefix("sm_") && Int(architecture.dropFirst(3)).map { $0 >= 80 } ?? false
  }

  /// Why no kernels run on a device of that kind, version of OpenCL ("OpenCL 3.0 CUDA 12.4") and group size; `nil` where
  /// they do.
  package static func problem(kind: OpenCLDevice.Kind, version: String, largestGroup: Int) -> String? {
    let numbers = version.split(separator: " ").dropFirst().first?.split(separator: ".").compactMap { Int($0) } ?? []
    if numbers.count == 2, (numbers[0], numbers[1]) < (1, 2) { return "it offers \(version), kernels need OpenCL 1.2" }
    let groupSize = DeviceTraits(kind: kind).groupSize
    return largestGroup >= groupSize
      ? nil : "its groups have \(largestGroup) work-items at most, kernels need \(groupSize)"
  }

  /// Whether a driver mistakes launches of several queues for each other, so that one queue may launch at a time
  /// (`QueueTurns`).
  ///
  /// PoCL before 6.0 keeps loaded kernels in a list for the whole process, an entry for every kernel, group size and
  /// number of work-items that is larger than those before. What a launch uses is counted, but the count goes down in
  /// the newest entry of that kernel and group size. Where a larger launch begins while smaller ones of other queues, of
  /// whichever context, are under way, the count falls below what is in use: PoCL breaks off with the assertion
  /// `ref_count > 0`, or unloads a kernel that runs where more than 128 entries are in the list. A queue that is in order
  /// has one launch under way, whose entry is the newest. A program that is asked for its binary enters its kernels anew,
  /// unused: whichever of them runs then, in any context that built the same text, breaks off when it ends.
  package static func confusesLaunches(platform: String, version: String) -> Bool {
    guard platform == pocl else { return false }
    // Such as "OpenCL 3.0 PoCL 3.1+debian  Linux, None+Asserts"; what names no release may be an old one.
    let words = version.lowercased().split(separator: " ")
    guard let name = words.firstIndex(of: "pocl"), name + 1 < words.endIndex,
      let major = Int(words[name + 1].prefix { $0.isNumber })
    else { return true }
    return major < 6
  }

  private static let pocl = "Portable Computing Language"

  /// What a driver that fails to build without saying why most likely lacks.
  static func hintForEmptyBuildLog(platform: String) -> String {
    platform.contains("NVIDIA")
      ? "the build log is empty; newer NVIDIA drivers need the library libnvidia-nvvm.so beside libnvidia-opencl.so: "
        + "add its folder to LD_LIBRARY_PATH"
      : "the build log is empty"
  }
}
