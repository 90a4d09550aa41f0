import CTestAllocations

/// Counts heap allocations, of all threads of the process: nothing else may run beside what is measured.
package enum Allocations {
  /// What was allocated.
  package struct Count: Sendable, Equatable {
    /// Calls of malloc and its kin.
    package var allocations: Int
    /// The bytes that they asked for.
    package var bytes: Int
    /// The bytes that stay occupied beyond those before; negative when more was freed.
    package var heldBytes: Int
    /// The most bytes that were occupied at once beyond those before.
    package var peakBytes: Int
  }

  /// The allocations made while `body` runs.
  package static func counted<E: Error>(_ body: () throws(E) -> Void) throws(E) -> Count {
    catena_allocations_start()
    defer { catena_allocations_stop() }
    try body()
    return current
  }

  /// The allocations made while `body` runs; those of the concurrency runtime, which allocates for tasks, are among
  /// them.
  package static func counted<E: Error>(
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws(E) -> Void
  ) async throws(E) -> Count {
    catena_allocations_start()
    defer { catena_allocations_stop() }
    try await body()
    return current
  }

  /// The allocations of a hundred steps: what 101 steps make beyond one. Of three such differences the one nearest to 0,
  /// since the concurrency runtime allocates a job now and then; steps that allocate do so in all three.
  package static func ofHundredSteps<E: Error>(
    isolation: isolated (any Actor)? = #isolation, _ run: (_ steps: Int) async throws(E) -> Void
  ) async throws(E) -> Int {
    var growths: [Int] = []
    for _ in 0..<3 {
      let one = try await counted { () async throws(E) in try await run(1) }
      let more = try await counted { () async throws(E) in try await run(101) }
      growths.append(more.allocations - one.allocations)
    }
    return growths.min { abs($0) < abs($1) } ?? 0
  }

  private static var current: Count {
    Count(
      allocations: Int(catena_allocations_count()), bytes: Int(catena_allocations_bytes()),
      heldBytes: Int(catena_allocations_held()), peakBytes: Int(catena_allocations_peak()))
  }
}
