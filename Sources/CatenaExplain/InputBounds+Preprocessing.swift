import CatenaFormats

extension InputBounds {
  /// The range of inputs that pictures of 8 bits can become.
  public init(_ preprocessing: Preprocessing) {
    let ends = (0..<3).map { channel in
      [0.0, 255.0].map { ($0 / preprocessing.divisor - preprocessing.mean[channel]) / preprocessing.std[channel] }
    }
    self.init(lowest: ends.map { min($0[0], $0[1]) }, highest: ends.map { max($0[0], $0[1]) })
  }
}
