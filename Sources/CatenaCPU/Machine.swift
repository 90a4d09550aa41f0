import COneDNN
import CatenaCompute
import Foundation

/// What this process may use of the machine.
enum Machine {
  /// Processors that the affinity mask and the control group's quota leave to this process, at least 1.
  static var usableProcessors: Int {
    let allowed = Int(catena_allowed_processors())
    let processors = allowed > 0 ? allowed : ProcessInfo.processInfo.activeProcessorCount
    return max(1, min(processors, quota ?? processors))
  }

  /// Whole processors that the control groups above this process grant, rounded up; `nil` for no limit.
  private static var quota: Int? {
    controlGroups.compactMap { folder -> Int? in
      // "max 100000" or "150000 100000": microseconds per period.
      let words = contents(folder + "/cpu.max")?.split(whereSeparator: \.isWhitespace)
      guard let words, words.count == 2, let granted = Double(words[0]), let period = Double(words[1]) else {
        return nil
      }
      return max(1, Int((granted / period).rounded(.up)))
    }.min()
  }

  /// The folders of this process's control group and all above it.
  private static var controlGroups: [String] {
    let lines = contents("/proc/self/cgroup")?.split(separator: "\n") ?? []
    var path = lines.first { $0.hasPrefix("0::") }.map { String($0.dropFirst(3)) } ?? "/"
    var folders = ["/sys/fs/cgroup"]
    while path.count > 1, path.hasPrefix("/") {
      folders.append("/sys/fs/cgroup" + path)
      path = (path as NSString).deletingLastPathComponent
    }
    return folders
  }

  /// The processor's own name.
  static var processorName: String {
    let lines = contents("/proc/cpuinfo")?.split(separator: "\n") ?? []
    let line = lines.first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { $0.trimmingCharacters(in: .whitespaces) } ?? "processor"
  }

  /// The instruction set that code is generated for.
  static var instructionSet: String { String(cString: catena_instruction_set()) }

  /// Whether it multiplies bf16 and accumulates in f32.
  static var multipliesBFloat16: Bool { ["avx512-bf16", "avx512-amx"].contains(instructionSet) }

  /// Whether it does so in matrix units, many times as fast as in vectors.
  static var hasMatrixUnits: Bool { instructionSet == "avx512-amx" }

  private static func contents(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  /// This machine as device, used with `threads` threads.
  static func description(threads: Int) -> DeviceDescription {
    DeviceDescription(
      backend: "cpu", name: processorName, instructionSet: instructionSet, threads: threads,
      memory: Int(clamping: ProcessInfo.processInfo.physicalMemory))
  }
}
