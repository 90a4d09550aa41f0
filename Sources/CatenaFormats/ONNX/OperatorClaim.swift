import CatenaGraph
import CatenaTensors

/// What Catena imports: one operator of ONNX, for inference, with the element types and operator sets it covers.
public struct OperatorClaim: Sendable, Hashable {
  /// ONNX's name of the operator.
  public let operatorType: String
  /// Types of the data operand (or of the result where there is no operand).
  public let elementTypes: Set<ElementType>
  /// Versions of ONNX's operator set.
  public let opsets: ClosedRange<Int>
  /// What is outside the claim, or how the operator is read.
  public let note: String

  /// Every claim, by name.
  public static let all: [OperatorClaim] = OperatorImport.table.values.map(\.claim)
    .sorted { $0.operatorType < $1.operatorType }

  /// The claim on an operator of ONNX's own domain, `nil` when there is none.
  public static func claim(on operatorType: String) -> OperatorClaim? { OperatorImport.table[operatorType]?.claim }

  /// The claims as a table in Markdown, for the documentation.
  public static func markdown() -> String {
    let rows = all.map { claim in
      let types = ElementType.allCases.filter(claim.elementTypes.contains).map(\.rawValue).joined(separator: ", ")
      return
        "| \(claim.operatorType) | \(claim.opsets.lowerBound)-\(claim.opsets.upperBound) | \(types) | \(claim.note) |"
    }
    return (["| operator | operator sets | element types | notes |", "|---|---|---|---|"] + rows).joined(
      separator: "\n")
  }
}

/// A claim with what makes it true: there is neither without the other.
struct OperatorImport: Sendable {
  typealias Translation = @Sendable (inout GraphImporter, ImportedNode) throws(NodeFailure) -> [ValueID]

  let claim: OperatorClaim
  /// The operand whose element type the claim speaks of.
  let typedOperand: Int
  let translate: Translation

  init(
    _ operatorType: String, _ elementTypes: Set<ElementType>, since: Int = 7, through: Int = ONNXModel.newestOpset,
    typedOperand: Int = 0, note: String = "", _ translate: @escaping Translation
  ) {
    claim = OperatorClaim(
      operatorType: operatorType, elementTypes: elementTypes, opsets: since...through, note: note)
    self.typedOperand = typedOperand
    self.translate = translate
  }

  static let table: [String: OperatorImport] = {
    let groups: [[OperatorImport]] = [
      mixing, normalization, windows, activations, arithmetic, composed, axes, selections, layouts, sources, resizes,
    ]
    return Dictionary(uniqueKeysWithValues: groups.joined().map { ($0.claim.operatorType, $0) })
  }()
}

extension Set<ElementType> {
  static let floats: Set = [.float32, .float16, .bfloat16, .float64]
  static let numbers: Set = floats.union([.int32, .int64])
  static let bool: Set = [.bool]
  static let anything: Set = numbers.union([.bool, .uint8])
}
