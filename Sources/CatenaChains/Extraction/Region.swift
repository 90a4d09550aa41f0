import CatenaTensors

/// The samples that a chain is to serve, as the network reads them.
public struct Region: Sendable {
  /// A name for messages and files.
  public var name: String
  /// The preprocessed samples, N first.
  public var samples: Tensor
  /// One name per sample: a file, a record.
  public var sampleNames: [String]

  /// A region of N samples.
  /// - Throws: `ChainError.emptyRegion` for no samples, `.mismatch` when names and samples differ in number.
  public init(name: String, samples: Tensor, sampleNames: [String]) throws(ChainError) {
    guard let count = samples.shape.dimensions.first, count > 0 else { throw .emptyRegion(name: name) }
    guard count == sampleNames.count else {
      throw .mismatch("the region '\(name)' has \(count) samples but \(sampleNames.count) names")
    }
    self.name = name
    self.samples = samples
    self.sampleNames = sampleNames
  }

  /// The number of samples.
  public var count: Int { samples.shape[0] }
}

/// Rows of a tensor along its first axis, as batches of a fixed size.
package struct Batches {
  /// Samples per batch.
  let size: Int
  /// Samples in all.
  let count: Int

  /// Batches of `size` out of `count` samples.
  package init(size: Int, count: Int) {
    self.size = size
    self.count = count
  }

  /// The index ranges of the batches; the last may be short.
  package var ranges: [Range<Int>] {
    stride(from: 0, to: count, by: size).map { $0..<min($0 + size, count) }
  }
}

extension Tensor {
  /// The rows `range` of the first axis, filled up to `count` rows by repeating the last one.
  package func rows(_ range: Range<Int>, filledTo count: Int) -> Tensor {
    precondition(!range.isEmpty && range.upperBound <= shape[0] && count >= range.count, "rows out of range")
    let rowBytes = byteCount / max(shape[0], 1)
    var rowsShape = shape
    rowsShape[0] = count
    return withUnsafeBytes { source in
      Tensor(elementType: elementType, shape: rowsShape) { target in
        for row in 0..<count {
          let index = min(range.lowerBound + row, range.upperBound - 1)
          UnsafeMutableRawBufferPointer(rebasing: target[(row * rowBytes)..<((row + 1) * rowBytes)])
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[(index * rowBytes)..<((index + 1) * rowBytes)]))
        }
      }
    }
  }
}
