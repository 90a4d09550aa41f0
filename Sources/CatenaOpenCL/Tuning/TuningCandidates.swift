extension KernelFamily {
  /// The families whose shapes may be tuned.
  package static let tunable: [KernelFamily] = [.convolution, .gemm, .gate, .softmax, .elementwise, .movement]
}

/// What is tried in tuning, and on what.
package enum TuningCandidates {
  /// Shapes of a family that may be faster on the device than its own, which are not among them. All can run there.
  package static func traits(_ family: KernelFamily, on device: OpenCLDevice) -> [DeviceTraits] {
    let own = DeviceTraits(device)
    var seen: Set<DeviceTraits> = [own]
    let found: [DeviceTraits] =
      switch family {
      case .convolution, .gemm: device.kind == .cpu ? registers(own) : tiles(own)
      case .gate, .softmax:
        [16, 64, 256, 1024].map { own.with(\.rowsPerPart, $0) }
          + [own.with(\.lanes, own.lanes / 2), own.with(\.lanes, min(own.lanes * 2, 16))]
      case .elementwise:
        [2, 4, 8, 16].map { own.with(\.lanes, $0) }
          + [own.groupSize / 2, own.groupSize * 2, own.groupSize * 4].map { own.with(\.groupSize, $0) }
      case .movement:
        [1, 4, 16, 64, 256].flatMap { run in
          [own.groupSize, own.groupSize * 4].map { own.with(\.run, run).with(\.groupSize, $0) }
        }
      default: []
      }
    return found.filter { $0.problem(on: device) == nil && seen.insert($0).inserted }
  }

  /// Blocks of registers, without tiles.
  private static func registers(_ own: DeviceTraits) -> [DeviceTraits] {
    [(16, 4), (16, 6), (16, 12), (8, 8), (8, 12), (4, 8)].map {
      own.with(\.lanes, $0.0).with(\.pixels, $0.1)
    } + [own.with(\.groupSize, 4), own.with(\.groupSize, 16)]
  }

  /// Tiles in local memory, and none.
  private static func tiles(_ own: DeviceTraits) -> [DeviceTraits] {
    let tiles = [
      (128, 128, 8, 8, 8), (128, 128, 16, 8, 8), (128, 64, 16, 8, 8), (64, 128, 16, 8, 8), (64, 64, 8, 8, 8),
      (64, 64, 32, 8, 8), (64, 64, 16, 4, 8), (64, 64, 16, 8, 4), (64, 64, 16, 4, 4), (32, 32, 16, 4, 4),
      (128, 32, 16, 8, 4), (32, 128, 16, 4, 8),
    ].map { DeviceTraits.Tile(rows: $0.0, columns: $0.1, inner: $0.2, itemRows: $0.3, itemColumns: $0.4) }
    return tiles.map { own.with(\.tile, $0) }
      + [own.with(\.tile, nil), own.with(\.tile, nil).with(\.pixels, 8)]
  }

  /// Problems on which a candidate's results must be those of the plain kernels: extents that end within vectors, blocks
  /// and tiles, and some that fill them.
  package static func checks(_ family: KernelFamily) -> [String] {
    switch family {
    case .convolution:
      [
        "convolution n2 c20 hw13x15 m37 k3x3 p1 bias", "convolution n2 c16 hw15x15 m32 k3x3 s2 p1",
        "convolution n1 c3 hw37x37 m12 k7x7 s2 p3 bias", "convolution n2 c64 hw7x7 m48 k1x1",
        "convolution n1 c12 hw11x11 m9 k3x3 p2 d2", "convolution n2 c15 hw9x9 m12 k3x3 p1 g3",
        "convolution n2 c21 hw10x11 m21 k3x3 p1 g21 bias", "convolutionTranspose n2 c20 hw9x9 m13 k3x3 p1",
        "convolutionTranspose n2 c12 hw7x8 m70 k3x3 s2 p1 o1", "convolution n2 c64 hw16x16 m128 k3x3 p1",
      ]
    case .gemm:
      [
        "gemm 65x77 130x77 130 transposeB", "gemm 33x40 40x50", "gemm 40x33 40x50 transposeA alpha0.5",
        "matmul 2x3x17x24 2x3x24x19", "matmul 4x9x16 16x21", "gemm 128x128 128x128",
      ]
    case .gate:
      [
        "gateGradient 6x21x9x9 regions3", "gateGradient 2x64x24x24", "gate 6x21x9x9 regions3",
        "gateGradientFromOutput 4x70 regions2",
      ]
    case .softmax:
      [
        "reduce sum 3x40x21 axes1", "reduce maximum 2x300x65 axes1", "reduce mean 5x2000x3 axes1",
        "softmax 9x101 axes1", "reduce sum 4x9x9x20 axes1x2",
      ]
    case .elementwise:
      [
        "unary gelu 3x7x33", "binary add 2x21x9x9 2x21x9x9", "binary multiply 2x21x9x9 21x1x1",
        "binary divide 3x7x33 7x1", "batchNormalization 2x19x5x7",
      ]
    case .movement:
      [
        "transpose 2x21x6x7 axes0x2x3x1", "slice 5x33 starts4x0 sizes3x16 steps-1x2", "concatenate 2x5x7 2x9x7 axis1",
        "pad 3x300 begins0x1 ends0x2 constant1", "transpose 300x257 axes1x0",
      ]
    default: []
    }
  }

  /// Problems on which candidates are timed: what chains of common networks spend their time on.
  /// - Parameter samples: images per run; products have as many times 32 rows.
  package static func timings(_ family: KernelFamily, samples: Int) -> [String] {
    switch family {
    case .convolution:
      [
        "convolution n\(samples) c64 hw56x56 m64 k3x3 p1 bias", "convolution n\(samples) c256 hw14x14 m256 k3x3 p1",
        "convolution n\(samples) c64 hw56x56 m256 k1x1", "convolution n\(samples) c96 hw28x28 m96 k3x3 p1 g96",
        "convolution n\(4 * samples) c16 hw32x32 m16 k3x3 p1",
        "convolutionTranspose n\(samples) c128 hw28x28 m64 k3x3 s2 p1 o1",
      ]
    case .gemm: ["gemm 1024x1024 1024x1024", "gemm \(32 * samples)x2048 1000x2048 1000 transposeB"]
    case .gate: ["gateGradient \(4 * samples)x64x56x56", "gateGradient \(4 * samples)x256x14x14 regions2"]
    case .softmax: ["reduce sum \(64 * samples)x56x64 axes1", "reduce sum 2x\(3136 * samples)x64 axes1"]
    case .elementwise: ["binary add \(4 * samples)x64x56x56 \(4 * samples)x64x56x56"]
    case .movement: ["transpose \(4 * samples)x64x56x56 axes0x2x3x1", "transpose 2x\(800_000 * samples) axes0x1"]
    default: []
    }
  }
}

extension DeviceTraits {
  /// These traits with one of them changed.
  package func with<Value>(_ trait: WritableKeyPath<DeviceTraits, Value>, _ value: Value) -> DeviceTraits {
    var result = self
    result[keyPath: trait] = value
    return result
  }

  /// In few words what sets these traits apart from others.
  package func difference(from other: DeviceTraits) -> String {
    var words: [String] = []
    if lanes != other.lanes { words.append("\(lanes) lanes") }
    if pixels != other.pixels { words.append("\(pixels) positions") }
    if run != other.run { words.append("runs of \(run)") }
    if groupSize != other.groupSize { words.append("groups of \(groupSize)") }
    if rowsPerPart != other.rowsPerPart { words.append("\(rowsPerPart) rows a part") }
    if tile != other.tile {
      words.append(
        tile.map { "tile \($0.rows)x\($0.columns)x\($0.inner), \($0.itemRows)x\($0.itemColumns) an item" } ?? "no tile")
    }
    return words.isEmpty ? "the device's own" : words.joined(separator: ", ")
  }
}
