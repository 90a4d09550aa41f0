import CatenaCPU
import CatenaChains
import CatenaCompute
import CatenaTensors
import Foundation
import Synchronization
import TestSupport
import Testing

/// Extracts and writes a chain; gives the files' sums, as the folder itself lists them, and the sum of that list.
private func extractedSums(seed: UInt64) async throws -> String {
  let network = ShippedNetwork.resnet20
  let chain = try await ChainFolder(
    network.model(), network.region([0, 1, 10, 11]), request: .keep(fraction: 0.3),
    settings: .short(steps: 20, seed: seed), threads: 2)
  return String(decoding: try chain.bytes(of: ChainFile.sums), as: UTF8.self)
}

/// Keeps a processor busy until it is cancelled; no task, which would hold up the others.
private func burn() -> Thread {
  let thread = Thread {
    var value = 1.0
    while !Thread.current.isCancelled {
      for _ in 0..<10_000 { value = (value * 1.000_1).truncatingRemainder(dividingBy: 7) }
    }
  }
  thread.start()
  return thread
}

@Suite("Determinism")
struct DeterminismTests {
  @Test("the same seed and threads give the same files, also beside unrelated load; another seed runs")
  func sameFiles() async throws {
    let first = try await extractedSums(seed: 1)
    let load = (0..<3).map { _ in burn() }
    defer { for thread in load { thread.cancel() } }
    let second = try await extractedSums(seed: 1)
    #expect(first == second)
    #expect(try await extractedSums(seed: 2) != first)
  }

  /// Hash tables iterate in another order in every process.
  @Test("another process gives the same files")
  func otherProcess() async throws {
    let result = await #expect(processExitsWith: .success, observing: [\.standardOutputContent]) {
      print("sums:" + Data(try await extractedSums(seed: 1).utf8).base64EncodedString())
    }
    let output = String(decoding: try #require(result).standardOutputContent, as: UTF8.self)
    let line = try #require(output.split(separator: "\n").first { $0.hasPrefix("sums:") })
    let sums = try #require(Data(base64Encoded: String(line.dropFirst(5))))
    #expect(try await String(decoding: sums, as: UTF8.self) == extractedSums(seed: 1))
  }
}

@Suite("Cancellation")
struct CancellationTests {
  @Test(
    "a cancelled extraction stops within a few steps and says so",
    arguments: [ChainProgress.Stage.optimizing, .evaluating])
  func cancelled(during stage: ChainProgress.Stage) async throws {
    let network = ShippedNetwork.resnet20
    // Far more steps than are ever made where the optimisation is cancelled, and a report after every two hundred.
    var settings = ChainSettings.short(steps: stage == .optimizing ? 100_000 : 25)
    let interval = 200
    if stage == .optimizing { settings.snapshots = settings.steps / interval }
    let extractor = try extractor(network.model(), settings: settings)
    let region = try network.region([0, 10])
    let (stages, continuation) = AsyncStream.makeStream(of: ChainProgress.Stage.self)
    let last = Mutex<(stage: ChainProgress.Stage, completed: Int)?>(nil)
    let task = Task {
      try await extractor.chains(for: [region], request: .keep(fraction: 0.3)) { progress in
        last.withLock { $0 = (progress.stage, progress.completed) }
        continuation.yield(progress.stage)
      }
    }
    if stage == .optimizing {
      for await reached in stages where reached == .preparing { break }
      try await Task.sleep(for: .milliseconds(500))
    } else {
      for await reached in stages where reached == stage { break }
    }
    let before = last.withLock { $0 }
    task.cancel()
    let error = await #expect(throws: ComputeError.self) { _ = try await task.value }
    guard case .cancelled? = error else {
      Issue.record("another error: \(String(describing: error))")
      return
    }
    // Counted, not timed: how long a step takes is the machine's and its other work's.
    let after = last.withLock { $0 }
    let steps = (after?.completed ?? 0) - (before?.stage == after?.stage ? before?.completed ?? 0 : 0)
    #expect(after?.stage != .evaluating || stage == .evaluating)
    #expect(steps <= (stage == .optimizing ? interval : 2))
  }
}
