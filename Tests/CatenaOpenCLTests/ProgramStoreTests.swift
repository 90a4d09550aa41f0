import CatenaCompute
import CatenaOpenCL
import Foundation
import TestSupport
import Testing

private let source = "kernel void twice(global float *x) { x[get_global_id(0)] *= 2.0f; }"
private let options = "-cl-std=CL1.2"
private let key = ProgramStore.Key(device: ["a", "b"], options: "-DX", source: source)

@Suite struct ProgramStoreTests {
  private let folder: TemporaryFolder
  private let store: ProgramStore

  init() throws {
    folder = try TemporaryFolder()
    store = ProgramStore(folder: folder.file("made/when/needed"))
  }

  @Test func whatWasKeptComesBack() {
    #expect(store.load(key) == nil)
    let binary = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    store.save(binary, key)
    #expect(store.load(key) == binary)
    store.save([1], key)
    #expect(store.load(key) == [1])
    store.remove(key)
    #expect(store.load(key) == nil)
  }

  @Test func everythingThatAProgramDependsOnTellsItApart() {
    let others = [
      ProgramStore.Key(device: ["a", "c"], options: "-DX", source: source),
      ProgramStore.Key(device: ["ab"], options: "-DX", source: source),
      ProgramStore.Key(device: ["a", "b"], options: "-DY", source: source),
      ProgramStore.Key(device: ["a", "b"], options: "-DX", source: source + " "),
    ]
    store.save([1, 2, 3], key)
    for other in others { #expect(store.load(other) == nil) }
  }

  enum Damage: CaseIterable { case empty, cutOff, altered, longer, otherKey, otherKind }

  @Test(arguments: Damage.allCases)
  func aDamagedFileIsNotUsedAndGoes(_ damage: Damage) throws {
    store.save([UInt8](repeating: 7, count: 500), key)
    let path = store.folder + "/" + key.fileName
    var file = [UInt8](try Data(contentsOf: URL(filePath: path)))
    switch damage {
    case .empty: file = []
    case .cutOff: file.removeLast()
    case .altered: file[file.count - 100] ^= 1
    case .longer: file.append(0)
    case .otherKey: file[20] ^= 1
    case .otherKind: file[0] = 0
    }
    try Data(file).write(to: URL(filePath: path))
    #expect(store.load(key) == nil)
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func aFolderThatCannotBeWrittenKeepsNothing() throws {
    let file = try folder.write([], to: "file")
    let store = ProgramStore(folder: file + "/folder")
    store.save([1], key)
    #expect(store.load(key) == nil)
  }

  @Test func theEnvironmentNamesTheFolder() {
    let standard = ProgramCacheLocation.standard
    #expect(standard.folder(environment: ["HOME": "/home/a"]) == "/home/a/.cache/catena")
    #expect(standard.folder(environment: ["HOME": "/home/a", "XDG_CACHE_HOME": "/c"]) == "/c/catena")
    #expect(standard.folder(environment: ["HOME": "/home/a", "XDG_CACHE_HOME": "c"]) == "/home/a/.cache/catena")
    #expect(standard.folder(environment: ["HOME": "/home/a", "CATENA_CACHE": "/own"]) == "/own")
    #expect(standard.folder(environment: ["HOME": "/home/a", "CATENA_CACHE": "off"]) == nil)
    #expect(standard.folder(environment: [:]) == nil)
    #expect(ProgramCacheLocation.off.folder(environment: ["HOME": "/home/a"]) == nil)
    #expect(ProgramCacheLocation.folder("/f").folder(environment: [:]) == "/f")
  }
}

@Suite(.enabled(if: DeviceUnderTest.isAvailable, Comment(rawValue: DeviceUnderTest.problem ?? "")))
struct ProgramCacheTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func context() throws -> OpenCLContext {
    try OpenCLContext(DeviceUnderTest.backend.context.device, cache: .folder(folder.path))
  }

  @Test func theNextContextLoadsWhatTheFirstBuilt() async throws {
    let first = try context()
    _ = try first.program(.movement)
    _ = try first.program(.movement)
    #expect(first.programs.statistics.built == 1)
    #expect(try folder.names.count == 1)
    let second = try context()
    _ = try second.program(.movement)
    #expect(second.programs.statistics.built == 0)
    #expect(second.programs.statistics.loaded == 1)
    // A loaded program computes what a built one does.
    let step = try GatedStep()
    let expected = try await step.run(on: OpenCLBackend(context: first), steps: 1)
    let loaded = try context()
    let found = try await step.run(on: OpenCLBackend(context: loaded), steps: 1)
    #expect(loaded.programs.statistics.built == 0)
    for value in step.carried {
      #expect(try await found.read(value).isBitIdentical(to: expected.read(value)))
    }
  }

  @Test func whatTheDriverRefusesIsBuiltAgain() throws {
    let first = try context()
    _ = try first.programs.program(named: "twice", source: source, options: options)
    let store = ProgramStore(folder: folder.path)
    let stored = ProgramStore.Key(
      device: first.device.identity, options: options, source: source)
    let good = try #require(store.load(stored))
    // Whole as a file, nonsense to the driver.
    store.save([UInt8](repeating: 0x5a, count: 1000), stored)
    let second = try context()
    _ = try second.programs.program(named: "twice", source: source, options: options)
    #expect(second.programs.statistics.built == 1)
    #expect(second.programs.statistics.loaded == 0)
    #expect(store.load(stored)?.count == good.count)
  }

  /// Four processes that find an empty folder, at the same time.
  @Test func severalProcessesShareAFolder() async throws {
    let path = folder.path
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          await #expect(processExitsWith: .success) { [path = path as String] in
            let context = try OpenCLContext(DeviceUnderTest.backend.context.device, cache: .folder(path))
            _ = try context.programs.program(named: "twice", source: source, options: options)
            let statistics = context.programs.statistics
            #expect(statistics.built + statistics.loaded == 1)
          }
        }
      }
      try await group.waitForAll()
    }
    #expect(try folder.names.count == 1)
    let after = try context()
    _ = try after.programs.program(named: "twice", source: source, options: options)
    #expect(after.programs.statistics.loaded == 1)
  }
}
