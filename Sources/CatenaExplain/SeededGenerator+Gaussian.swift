import CatenaTensors
import Foundation

extension SeededGenerator {
  /// A number from the normal distribution of mean 0 and standard deviation 1 (Box and Muller; two uniform draws each).
  mutating func gaussian() -> Double {
    let radius = (-2 * log(1 - uniform())).squareRoot()
    return radius * cos(2 * Double.pi * uniform())
  }
}
