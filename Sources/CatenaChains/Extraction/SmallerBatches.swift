import CatenaCompute

/// Does `work` with a batch of samples per run, and with half as many as often as that does not fit into memory.
/// - Parameters:
///   - batch: samples per run at first.
///   - smallest: the batch below which the lack of memory is thrown.
/// - Returns: what `work` made, and the batch it was made with.
package func halvingBatches<Result>(
  from batch: Int, downTo smallest: Int, _ work: (Int) async throws -> Result
) async throws -> (result: Result, batch: Int) {
  var batch = batch
  while true {
    do {
      return (try await work(batch), batch)
    } catch ComputeError.outOfMemory where batch > smallest {
      batch = max(batch / 2, smallest)
    }
  }
}
