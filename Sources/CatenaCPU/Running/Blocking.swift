import CatenaGraph
import CatenaTensors

/// How a section runs: in blocks of so many samples, each by one of so many lanes.
struct Blocking: Hashable {
  var blockSize: Int
  /// Threads that run blocks by themselves; 1 lets all threads work on one block.
  var lanes: Int
}

extension BatchSection {
  /// Bytes of values from which on a block counts as large.
  private static let largeBlock = 128 << 20

  /// The ways to run it: the best first, then smaller blocks, which need less memory.
  ///
  /// A block reads all weights, so it should touch twice as many bytes of its samples' values. Where that would be much
  /// memory, as many are enough: ResNet-50's step is as fast in two thirds of the memory, while ResNet-56's, with a
  /// fiftieth of the values, would lose 7 %.
  func blockings(threads: Int) -> [Blocking] {
    let perRegion = samples / regions
    let sizes = (1...perRegion).filter { perRegion.isMultiple(of: $0) }
    let traffic = traffic()
    let sought = min(2 * traffic.weightBytes, max(traffic.weightBytes, Self.largeBlock))
    let worthwhile = sizes.first { $0 * traffic.bytesPerSample >= sought } ?? perRegion
    // Lanes of equal numbers of blocks; what does not divide so is done by all threads, block by block.
    let even = sizes.filter { (samples / $0).isMultiple(of: threads) }
    let best = even.first { $0 >= worthwhile } ?? even.last
    guard let best else { return sizes.reversed().map { Blocking(blockSize: $0, lanes: 1) } }
    return even.filter { $0 <= best }.reversed().map { Blocking(blockSize: $0, lanes: threads) }
      + [Blocking(blockSize: 1, lanes: 1)]
  }
}
