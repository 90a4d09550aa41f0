import CatenaGraph
import CatenaTensors

/// The words of a problem's line, taken one by one.
struct ProblemWords {
  private let line: String
  /// The operator's name.
  let name: String
  /// The second word where it is a kind: `binary add`.
  private var kinds: [String] = []
  private var shapes: [Shape] = []
  private var parameters: [String: [Double]] = [:]
  private var flags: Set<String> = []
  private var elementType: ElementType?

  init(_ line: String) throws {
    self.line = line
    var words = line.split(separator: " ").map(String.init)
    guard !words.isEmpty else { throw ProblemError(line: line, reason: "there is no operator") }
    name = words.removeFirst()
    for word in words {
      if let type = ElementType(rawValue: word) {
        if elementType == nil { elementType = type } else { kinds.append(word) }
      } else if word == "scalar" {
        shapes.append(.scalar)
      } else if word.first?.isNumber == true {
        shapes.append(Shape(try Self.numbers(word[...], line).map { Int($0) }))
      } else if let start = word.firstIndex(where: { $0.isNumber || $0 == "-" }) {
        parameters[String(word[..<start])] = try Self.numbers(word[start...], line)
      } else {
        flags.insert(word)
      }
    }
  }

  private static func numbers(_ text: Substring, _ line: String) throws -> [Double] {
    try text.split(separator: "x").map { part in
      guard let number = Double(part) else { throw ProblemError(line: line, reason: "'\(part)' is no number") }
      return number
    }
  }

  // MARK: Taking

  /// The element type of the first operand, f32 unless given.
  var type: ElementType { elementType ?? .float32 }

  func error(_ reason: String) -> ProblemError { ProblemError(line: line, reason: reason) }

  mutating func flag(_ name: String) -> Bool { flags.remove(name) != nil }

  /// The element type that is named second: a cast's target.
  mutating func secondType() throws -> ElementType {
    guard let word = kinds.popLast(), let type = ElementType(rawValue: word) else {
      throw error("a second element type is missing")
    }
    return type
  }

  /// The value of the flag among `choices` that is there.
  mutating func choice<Value>(_ choices: [String: Value]) throws -> Value {
    for (name, value) in choices where flag(name) { return value }
    throw error("one of \(choices.keys.sorted()) is missing")
  }

  mutating func optionalNumber(_ name: String) -> Double? { parameters.removeValue(forKey: name)?.first }

  mutating func number(_ name: String, default value: Double) -> Double { optionalNumber(name) ?? value }

  mutating func integer(_ name: String, default value: Int? = nil) throws -> Int {
    guard let number = optionalNumber(name).map({ Int($0) }) ?? value else { throw error("\(name) is missing") }
    return number
  }

  mutating func optionalIntegers(_ name: String) -> [Int]? {
    parameters.removeValue(forKey: name)?.map { Int($0) }
  }

  mutating func optionalNumbers(_ name: String) -> [Double]? { parameters.removeValue(forKey: name) }

  mutating func integers(_ name: String) throws -> [Int] {
    guard let integers = optionalIntegers(name) else { throw error("\(name) is missing") }
    return integers
  }

  /// So many integers; one alone stands for all.
  mutating func integers(_ name: String, count: Int, default value: Int) throws -> [Int] {
    let integers = optionalIntegers(name) ?? [value]
    if integers.count == 1 { return [Int](repeating: integers[0], count: count) }
    guard integers.count == count else { throw error("\(name) needs 1 or \(count) numbers") }
    return integers
  }

  mutating func shape() throws -> Shape {
    guard !shapes.isEmpty else { throw error("a shape is missing") }
    return shapes.removeFirst()
  }

  mutating func optionalShape() -> Shape? { shapes.isEmpty ? nil : shapes.removeFirst() }

  /// N x C x spatial from the words n, c and l, hw or dhw.
  mutating func image() throws -> Shape {
    for name in ["l", "hw", "dhw"] {
      if let spatial = optionalIntegers(name) {
        guard spatial.count == name.count else { throw error("\(name) needs \(name.count) numbers") }
        return Shape([try integer("n", default: 1), try integer("c")] + spatial)
      }
    }
    throw error("one of l, hw, dhw is missing")
  }

  /// Throws when a word was not taken: a misspelt parameter must not go unnoticed.
  func finish() throws {
    let rest = shapes.map(\.description) + parameters.keys.sorted() + flags.sorted() + kinds
    guard rest.isEmpty else { throw error("not understood: \(rest.joined(separator: " "))") }
  }
}

// MARK: Geometries

extension ProblemWords {
  mutating func convolution(spatialRank: Int) throws -> Convolution {
    let (begin, end) = try pads(spatialRank)
    return Convolution(
      strides: try integers("s", count: spatialRank, default: 1), padsBegin: begin, padsEnd: end,
      dilations: try integers("d", count: spatialRank, default: 1), groups: try integer("g", default: 1))
  }

  /// Pads in ONNX's order, all begins before all ends; one number for all, or one per axis for both sides.
  private mutating func pads(_ spatialRank: Int) throws -> (begin: [Int], end: [Int]) {
    let pads = optionalIntegers("p") ?? [0]
    switch pads.count {
    case 2 * spatialRank: return (Array(pads.prefix(spatialRank)), Array(pads.suffix(spatialRank)))
    case spatialRank: return (pads, pads)
    case 1:
      let all = [Int](repeating: pads[0], count: spatialRank)
      return (all, all)
    default: throw error("p needs 1, \(spatialRank) or \(2 * spatialRank) numbers")
    }
  }

  mutating func pool(spatialRank: Int) throws -> Pool {
    let kind: Pool.Kind
    if let p = optionalNumber("norm") {
      kind = .norm(p: Int(p))
    } else {
      kind = try choice([
        "maximum": .maximum, "average": .average(countIncludesPadding: false),
        "averagePadded": .average(countIncludesPadding: true),
      ])
    }
    let (begin, end) = try pads(spatialRank)
    return Pool(
      kind, kernel: try integers("k", count: spatialRank, default: 1),
      strides: try integers("s", count: spatialRank, default: 1), padsBegin: begin, padsEnd: end,
      dilations: try integers("d", count: spatialRank, default: 1), ceilMode: flag("ceil"))
  }

  mutating func responseNormalization() throws -> LocalResponseNormalization {
    LocalResponseNormalization(
      alpha: Float(number("alpha", default: 1e-4)), beta: Float(number("beta", default: 0.75)),
      bias: Float(number("bias", default: 1)), size: try integer("size"))
  }

  mutating func slice() throws -> Slice {
    let sizes = try integers("sizes")
    return Slice(
      starts: try integers("starts"), sizes: sizes, steps: try integers("steps", count: sizes.count, default: 1))
  }

  mutating func pad() throws -> Pad {
    let mode: Pad.Mode
    if let value = optionalNumber("constant") {
      mode = .constant(value)
    } else {
      mode = try choice(["reflect": .reflect, "edge": .edge, "wrap": .wrap])
    }
    return Pad(mode, begins: try integers("begins"), ends: try integers("ends"))
  }

  mutating func resize(_ data: Shape) throws -> Resize {
    let sizes = try integers("sizes")
    let interpolation: Resize.Interpolation = try choice([
      "linear": .linear, "nearestPreferFloor": .nearest(.roundPreferFloor),
      "nearestPreferCeil": .nearest(.roundPreferCeil), "nearestFloor": .nearest(.floor), "nearestCeil": .nearest(.ceil),
    ])
    let coordinates: Resize.Coordinates = try choice([
      "halfPixel": .halfPixel, "halfPixelSymmetric": .halfPixelSymmetric, "pytorchHalfPixel": .pytorchHalfPixel,
      "alignCorners": .alignCorners, "asymmetric": .asymmetric,
    ])
    let scales = optionalNumbers("scales") ?? zip(sizes, data.dimensions).map { Double($0) / Double($1) }
    return Resize(interpolation, coordinates: coordinates, sizes: sizes, scales: scales)
  }

  mutating func unaryFunction() throws -> UnaryFunction {
    let parameterless: [String: UnaryFunction] = [
      "relu": .relu, "sigmoid": .sigmoid, "hardSwish": .hardSwish, "tanh": .tanh, "softplus": .softplus, "erf": .erf,
      "gelu": .gelu, "geluTanh": .geluTanh, "squareRoot": .squareRoot, "exponential": .exponential,
      "logarithm": .logarithm, "negate": .negate, "absolute": .absolute, "reciprocal": .reciprocal, "floor": .floor,
      "ceiling": .ceiling, "sign": .sign, "not": .not,
    ]
    if flag("leakyRelu") { return .leakyRelu(alpha: Float(number("alpha", default: 0.01))) }
    if flag("elu") { return .elu(alpha: Float(number("alpha", default: 1))) }
    if flag("selu") {
      return .selu(alpha: Float(number("alpha", default: 1.673263)), gamma: Float(number("gamma", default: 1.050701)))
    }
    if flag("hardSigmoid") {
      return .hardSigmoid(alpha: Float(number("alpha", default: 0.2)), beta: Float(number("beta", default: 0.5)))
    }
    if flag("clip") {
      return .clip(
        minimum: Float(number("minimum", default: -.infinity)), maximum: Float(number("maximum", default: .infinity)))
    }
    return try choice(parameterless)
  }

  mutating func binaryFunction() throws -> BinaryFunction {
    try choice(Dictionary(uniqueKeysWithValues: BinaryFunction.allCases.map { ("\($0)", $0) }))
  }
}
