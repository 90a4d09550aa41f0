import Foundation

/// exp(x) over its sum, without overflow.
func softmax(_ values: [Float]) -> [Float] {
  let top = values.max() ?? 0
  let powers = values.map { exp(Double($0 - top)) }
  let total = powers.reduce(0, +)
  return powers.map { Float($0 / total) }
}
