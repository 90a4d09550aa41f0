import CatenaGraph
import CatenaTensors

/// How a section runs: in blocks of so many samples, each by one of so many lanes.
struct Blocking: Hashable {
  var blockSize: Int
  /// Threads that run blocks by themselves; 1 lets all threads work on one block.
  var lanes: Int
}

extension BatchSection {
  /// The ways to run it: the best first, then smaller blocks, which need less memory.
  ///
  /// A block reads all weights, so it should touch as many bytes of its samples' values; the smaller it is beyond that,
  /// the more of them stay in the caches.
  func blockings(threads: Int) -> [Blocking] {
    let perRegion = samples / regions
    let sizes = (1...perRegion).filter { perRegion.isMultiple(of: $0) }
    let traffic = traffic()
    let worthwhile = sizes.first { $0 * traffic.bytesPerSample >= traffic.weightBytes } ?? perRegion
    // Lanes of equal numbers of blocks; what does not divide so is done by all threads, block by block.
    let even = sizes.filter { (samples / $0).isMultiple(of: threads) }
    let best = even.first { $0 >= worthwhile } ?? even.last
    guard let best else { return sizes.reversed().map { Blocking(blockSize: $0, lanes: 1) } }
    return even.filter { $0 <= best }.reversed().map { Blocking(blockSize: $0, lanes: threads) }
      + [Blocking(blockSize: 1, lanes: 1)]
  }
}
