import CatenaGraph
import CatenaTensors
import Foundation

extension Reference {
  static func reduce(_ parameters: Reduce, _ data: Tensor, _ type: TensorType) throws(EvaluationError) -> Tensor {
    if parameters.axes.isEmpty { return data.reshaped(to: type.shape) }
    let groups = AxisGroups(data.shape, axes: parameters.axes)
    guard data.elementType.isFloatingPoint else {
      guard data.elementType != .bool else { throw EvaluationError(reason: "bools cannot be reduced") }
      return try withInteger(
        data.elementType, IntegerReduction(kind: parameters.kind, data: data, groups: groups, type: type))
    }
    let values = try data.reals()
    let count = Double(groups.members.count)
    return Tensor(
      reals: groups.starts.map { start in
        switch parameters.kind {
        case .sum: fold(values, start, groups.members, from: 0) { $0 + $1 }
        case .mean: fold(values, start, groups.members, from: 0) { $0 + $1 } / count
        case .product: fold(values, start, groups.members, from: 1) { $0 * $1 }
        case .maximum: fold(values, start, groups.members, from: -.infinity, BinaryFunction.maximum.value)
        case .minimum: fold(values, start, groups.members, from: .infinity, BinaryFunction.minimum.value)
        }
      }, type)
  }

  static func argReduce(
    _ parameters: ArgReduce, _ data: Tensor, _ type: TensorType
  ) throws(EvaluationError) -> Tensor {
    let groups = AxisGroups(data.shape, axes: [parameters.axis])
    if data.elementType.isFloatingPoint {
      let values = try data.reals()
      return Tensor(parameters.indices(values, groups), shape: type.shape)
    }
    return try withInteger(data.elementType, IntegerArgReduction(parameters: parameters, data: data, groups: groups))
      .reshaped(to: type.shape)
  }

  /// e^(x - m) / sum of e^(x - m), or x - m - log(sum of e^(x - m)), with m the largest x of the group.
  static func softmax(_ axes: [Int], _ data: Tensor, logarithm: Bool) throws(EvaluationError) -> Tensor {
    let values = try data.reals()
    let groups = AxisGroups(data.shape, axes: axes)
    var results = [Double](repeating: 0, count: values.count)
    for start in groups.starts {
      let largest = fold(values, start, groups.members, from: -.infinity, BinaryFunction.maximum.value)
      let sum = fold(values, start, groups.members, from: 0) { $0 + exp($1 - largest) }
      for member in groups.members {
        let shifted = values[start + member] - largest
        results[start + member] = logarithm ? shifted - log(sum) : exp(shifted) / sum
      }
    }
    return Tensor(reals: results, data.type)
  }
}

/// Combines a group's elements, first to last.
func fold(
  _ values: UnsafePointer<Double>, _ start: Int, _ members: [Int], from initial: Double,
  _ combine: (Double, Double) -> Double
) -> Double {
  var result = initial
  for member in members { result = combine(result, values[start + member]) }
  return result
}

extension ArgReduce {
  /// The index of the extreme element of each group; of equal ones the first or, when `selectsLast`, the last.
  fileprivate func indices<Element: Comparable>(_ values: [Element], _ groups: AxisGroups) -> [Int64] {
    groups.starts.map { start in
      var best = 0
      for (index, member) in groups.members.enumerated() {
        let candidate = values[start + member]
        let current = values[start + groups.members[best]]
        let isBetter = findsMaximum ? candidate > current : candidate < current
        if isBetter || selectsLast && candidate == current { best = index }
      }
      return Int64(best)
    }
  }
}

private struct IntegerArgReduction: IntegerWork {
  let parameters: ArgReduce
  let data: Tensor
  let groups: AxisGroups

  func run<Integer: TensorInteger>(_ type: Integer.Type) -> Tensor {
    Tensor(parameters.indices(data.integerElements(type), groups), shape: [groups.starts.count])
  }
}

private struct IntegerReduction: IntegerWork {
  let kind: Reduce.Kind
  let data: Tensor
  let groups: AxisGroups
  let type: TensorType

  func run<Integer: TensorInteger>(_: Integer.Type) throws(EvaluationError) -> Tensor {
    let values = data.elements(of: Integer.self)
    let count = groups.members.count
    guard kind != .mean || count > 0 else { throw EvaluationError(reason: "the mean of no integers is taken") }
    return Tensor(
      groups.starts.map { start in
        let members = groups.members.lazy.map { values[start + $0] }
        return switch kind {
        case .sum: members.reduce(0, &+)
        // The sum is exact; the quotient is cut off towards zero.
        case .mean: Integer(truncatingIfNeeded: members.reduce(0) { $0 &+ Int(truncatingIfNeeded: $1) } / count)
        case .product: members.reduce(1, &*)
        case .maximum: members.reduce(Integer.min, max)
        case .minimum: members.reduce(Integer.max, min)
        }
      }, shape: type.shape)
  }
}
