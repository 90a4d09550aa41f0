import CatenaCompute
import CatenaGraph
import CatenaOpenCL
import CatenaProblems
import CatenaTensors
import Foundation
import TestSupport
import Testing

/// A device whose tuned parameters lie in a folder of the test's own.
@Suite(.serialized, .enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct TuningTests {
  private let folder: TemporaryFolder
  private let device: OpenCLDevice
  private let store: TuningStore

  init() throws {
    folder = try TemporaryFolder()
    device = try DeviceUnderTest.backend.context.device
    store = TuningStore(ProgramStore(folder: folder.path))
  }

  private func context() throws -> OpenCLContext { try OpenCLContext(device, cache: .folder(folder.path)) }

  /// Traits that differ from the device's own in what every device can do.
  private var changed: DeviceTraits { DeviceTraits(device).with(\.rowsPerPart, 17) }

  private func entry(_ traits: DeviceTraits) -> TuningStore.Entry {
    TuningStore.Entry(device: device, family: .gate, traits: traits, speedup: 1.5)
  }

  // MARK: What is kept

  @Test func whatWasTunedIsWhatTheNextContextUses() throws {
    #expect(try context().traits.tuned.isEmpty)
    #expect(store.save(entry(changed), .gate, device))
    let tuned = try context()
    #expect(tuned.traits[.gate] == changed)
    #expect(tuned.traits[.gemm] == DeviceTraits(device))
    #expect(tuned.remarks.isEmpty)
    // Artifacts tell results of tuned kernels from others.
    #expect(tuned.description.instructionSet.hasPrefix(device.description.instructionSet + ", tuned "))
    store.remove(.gate, device)
    #expect(try context().traits.tuned.isEmpty)
  }

  @Test func tunedTraitsChangeTheLaunches() async throws {
    let problem = try Problem("gateGradient 3200x5")
    let graph = try problem.graph()
    func elements() async throws -> [Int] {
      let backend = OpenCLBackend(context: try context())
      return try await backend.executable(Program(graph), options: CompileOptions()).records.map(\.operations)
    }
    let before = try await elements()
    #expect(store.save(entry(changed), .gate, device))
    let after = try await elements()
    // Partial sums: as many as there are parts of 17 rows.
    #expect(before != after)
    #expect(after[0] == 5 * (3200 / 17))
    try await check(problem, on: OpenCLBackend(context: context()))
  }

  enum Damage: CaseIterable { case altered, cutOff, otherForm, newerVersion, otherDevice, impossible, unevenGroup }

  @Test(arguments: Damage.allCases)
  func whatCannotBeUsedIsIgnoredWithOneLine(_ damage: Damage) throws {
    var kept = entry(changed)
    switch damage {
    case .altered, .cutOff, .otherForm: break
    case .newerVersion: kept.formatVersion = "2.0"
    case .otherDevice: kept.device[0] += "x"
    case .impossible: kept.traits = changed.with(\.lanes, 3)
    case .unevenGroup: kept.traits = changed.with(\.groupSize, 6)
    }
    #expect(store.save(kept, .gate, device))
    let key = TuningStore.key(.gate, device)
    let path = folder.file(key.fileName)
    var file = [UInt8](try Data(contentsOf: URL(filePath: path)))
    switch damage {
    case .altered: file[file.count - 3] ^= 1
    case .cutOff: file.removeLast(9)
    case .otherForm:
      ProgramStore(folder: folder.path).save(Array("{}".utf8), key)
      file = [UInt8](try Data(contentsOf: URL(filePath: path)))
    case .newerVersion, .otherDevice, .impossible, .unevenGroup: break
    }
    try Data(file).write(to: URL(filePath: path))
    let found = try context()
    #expect(found.traits == KernelTraits(device))
    #expect(found.remarks.count == 1)
    #expect(found.remarks.first?.contains("'gate' are not used") == true)
    #expect(found.remarks.first?.contains("\n") == false)
  }

  /// Two processes that tune the same family at the same time, and one that reads meanwhile.
  @Test func twoProcessesAtOnce() async throws {
    let path = folder.path
    try await withThrowingTaskGroup(of: Void.self) { group in
      for rows in [17, 19] {
        group.addTask {
          await #expect(processExitsWith: .success) { [path = path as String, rows = rows as Int] in
            let device = try DeviceUnderTest.backend.context.device
            let store = TuningStore(ProgramStore(folder: path))
            let traits = DeviceTraits(device).with(\.rowsPerPart, rows)
            let entry = TuningStore.Entry(device: device, family: .gate, traits: traits, speedup: 2)
            for _ in 0..<50 {
              #expect(store.save(entry, .gate, device))
              let (found, remarks) = store.traits(of: device)
              #expect(remarks.isEmpty)
              #expect([17, 19].contains(found[.gate].rowsPerPart))
            }
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try folder.names.count == 1)
    #expect([17, 19].contains(try context().traits[.gate].rowsPerPart))
  }

  // MARK: What is tried

  /// A driver that builds some candidates wrong: half of the positions that the host believes a work-item owns, or not
  /// at all.
  @Test func wrongAndFailingCandidatesAreNamedAndSkipped() async throws {
    await #expect(processExitsWith: .success) {
      var driver = Driver()
      let build = driver.buildProgram
      driver.buildProgram = { program, device, options in
        if options.contains("-DPIXELS=5") { return -11 }
        return build(program, device, options.replacingOccurrences(of: "-DPIXELS=7", with: "-DPIXELS=3"))
      }
      let own = DeviceTraits(kind: .cpu)
      let context = try OpenCLContext(
        DeviceUnderTest.backend.context.device, traits: KernelTraits(own), cache: .off, driver: driver)
      let candidates = [7, 5, 6].map { own.with(\.pixels, $0) }
      let finding = try await Tuner(context, rounds: 1).tune(.gemm, candidates: candidates)
      #expect(finding.trials.map(\.traits) == candidates)
      guard case .wrong(let error, let problem) = finding.trials[0].verdict,
        case .failed(let reason) = finding.trials[1].verdict,
        case .right(let time, let difference) = finding.trials[2].verdict
      else {
        Issue.record("\(finding.trials)")
        return
      }
      #expect(error > Tuner.tolerance && problem.hasPrefix("gemm"))
      #expect(reason.contains("clBuildProgram"))
      #expect(time > 0 && difference <= Tuner.tolerance)
      #expect(finding.chosen == nil || finding.chosen == candidates[2])
    }
  }

  /// A candidate that is much faster is chosen, kept, and used from then on.
  @Test func theFastestIsKept() async throws {
    await #expect(processExitsWith: .success) {
      // A work-item that owns one short vector is the worst that there is.
      let slow = DeviceTraits(kind: .cpu).with(\.lanes, 2).with(\.pixels, 1)
      let context = try OpenCLContext(DeviceUnderTest.backend.context.device, traits: KernelTraits(slow), cache: .off)
      let fast = slow.with(\.lanes, 8).with(\.pixels, 8)
      let finding = try await Tuner(context, rounds: 2).tune(.gemm, candidates: [fast])
      #expect(finding.chosen == fast, "\(finding)")
      #expect(finding.speedup > 1.1)
    }
  }

  @Test func candidatesOfEveryFamilyCanRunAndAreNotTheDevicesOwn() {
    for family in KernelFamily.tunable {
      let candidates = TuningCandidates.traits(family, on: device)
      #expect(candidates.count >= 4)
      for traits in candidates {
        #expect(traits.problem(on: device) == nil)
        #expect(traits.difference(from: DeviceTraits(device)) != "the device's own")
      }
    }
  }

  @Test func everyLineIsAProblem() throws {
    for family in KernelFamily.tunable {
      let lines = TuningCandidates.checks(family) + TuningCandidates.timings(family, samples: 1)
      for line in lines { _ = try Problem(line) }
    }
  }
}
