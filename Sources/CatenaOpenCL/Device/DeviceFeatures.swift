import CKernelSources
import CatenaCompute

/// What a device can do beyond OpenCL 1.2, found out by building and running a small kernel for each.
package enum DeviceFeature: String, Sendable, CaseIterable, Codable {
  case ptx, mmaTF32, mmaBF16, ldmatrix, cpAsync, localMemory48KiB, localMemoryAbove48KiB

  /// What is known of a feature.
  package struct Finding: Sendable, Codable, Hashable {
    /// Which one.
    package var feature: DeviceFeature
    /// Whether its kernel gave the right words; `nil` where it was not tried.
    package var works: Bool?
    /// Why not.
    package var reason: String
  }

  /// Builds and runs the feature's kernel. Only a lost device is an error: everything else is an answer.
  package func examine(on context: OpenCLContext) throws(ComputeError) -> Finding {
    if needsPTX, context.device.architecture.isEmpty {
      return Finding(feature: self, works: nil, reason: "not tried: the device is not NVIDIA's")
    }
    if localBytes > context.device.localMemory {
      return Finding(
        feature: self, works: nil, reason: "not tried: the device says that it has \(context.device.localMemory) bytes")
    }
    do throws(ComputeError) {
      let (input, expected) = words
      let found = try run(input, count: expected.count, on: context)
      let wrong = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }
      return Finding(
        feature: self, works: wrong == nil, reason: wrong.map { "word \($0.offset) of the result is wrong" } ?? "")
    } catch {
      if case .deviceLost = error { throw error }
      return Finding(feature: self, works: false, reason: error.description)
    }
  }

  private var needsPTX: Bool {
    switch self {
    case .ptx, .mmaTF32, .mmaBF16, .ldmatrix, .cpAsync: true
    case .localMemory48KiB, .localMemoryAbove48KiB: false
    }
  }

  private var localBytes: Int {
    switch self {
    case .localMemory48KiB: 48 << 10
    case .localMemoryAbove48KiB: 64 << 10
    default: 0
    }
  }

  /// The number by which features/features.cl chooses the kernel.
  private var code: Int {
    switch self {
    case .ptx: 0
    case .mmaTF32: 1
    case .mmaBF16: 2
    case .ldmatrix: 3
    case .cpAsync: 4
    case .localMemory48KiB, .localMemoryAbove48KiB: 5
    }
  }

  /// What the kernel reads, and what it must write.
  private var words: (input: [UInt32], expected: [UInt32]) {
    let counted = (0..<128).map { UInt32($0 * 7 + 2) }
    switch self {
    case .ptx: return (counted, (0..<32).map { counted[$0] + UInt32($0) })
    case .mmaTF32: return Self.product(depth: 8)
    case .mmaBF16: return Self.product(depth: 16)
    case .ldmatrix: return (counted, counted)
    case .cpAsync: return (counted, counted.enumerated().map { $0.offset < 64 ? $0.element : 0 })
    case .localMemory48KiB, .localMemoryAbove48KiB:
      let count = localBytes / 4
      return (counted, (0..<128).map { UInt32(count - 1 - $0) + counted[0] })
    }
  }

  /// Factors of small integers, 16 x depth and depth x 8, and their product.
  private static func product(depth: Int) -> (input: [UInt32], expected: [UInt32]) {
    let left: [Int] = (0..<16 * depth).map { ($0 * 5 + $0 / depth) % 7 - 3 }
    let right: [Int] = (0..<depth * 8).map { ($0 * 3 + $0 / 8) % 11 - 5 }
    let product: [Int] = (0..<16 * 8).map { place in
      (0..<depth).reduce(0) { sum, k in sum + left[place / 8 * depth + k] * right[k * 8 + place % 8] }
    }
    return ((left + right).map { Float($0).bitPattern }, product.map { Float($0).bitPattern })
  }

  private func run(_ input: [UInt32], count: Int, on context: OpenCLContext) throws(ComputeError) -> [UInt32] {
    try context.run(
      String(cString: catena_kernel_features_features()), kernel: "feature", input: input, resultCount: count,
      options: "-DFEATURE=\(code) -DLOCAL_WORDS=\(max(localBytes / 4, 128))")
  }
}

extension OpenCLContext {
  /// Runs one kernel of a source text as a group of 32 work-items, with a buffer that it reads and one that it writes.
  package func run(
    _ source: String, kernel: String, input: [UInt32], resultCount count: Int, options: String = ""
  ) throws(ComputeError) -> [UInt32] {
    let program = try programs.program(named: kernel, source: source, options: "-cl-std=CL1.2 " + options)
    let queue = try CommandQueue(self)
    let origin = try pool.allocate(input.count * 4)
    let target = try pool.allocate(count * 4)
    let memory = (source: origin.memory, target: target.memory)
    try queue.write(input, to: memory.source)
    let launch = try PreparedLaunch(
      kernel, in: program, arguments: [.memory(memory.source), .memory(memory.target)], workItems: 32,
      groupSize: 32, device: device.name)
    try queue.enqueue(launch)
    try queue.finish()
    var result = [UInt32](repeating: 0, count: count)
    try queue.read(&result, from: memory.target)
    _ = consume origin
    _ = consume target
    return result
  }
}
