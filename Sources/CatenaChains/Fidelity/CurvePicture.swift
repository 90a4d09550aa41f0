import Foundation

/// The sparsity-fidelity curve as a picture: binary agreement over the fraction of units kept, on a logarithmic scale,
/// soft agreement beside it, the answer marked.
struct CurvePicture {
  private let result: ChainResult
  private let width = 640.0
  private let height = 400.0
  private let margin = 56.0

  init(_ result: ChainResult) { self.result = result }

  /// The picture as SVG.
  var svg: String {
    let smallest = max(result.curve.points.map(\.keptFraction).filter { $0 > 0 }.min() ?? 0.01, 1e-4)
    let floor = min(smallest, 0.5)
    let front = upperEnvelope()
    var parts = [
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 \(Int(width)) \(Int(height))\" "
        + "font-family=\"sans-serif\" font-size=\"12\">",
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
    ]
    parts += axes(floor: floor)
    parts += result.curve.points.map { dot($0.keptFraction, $0.soft.agreement, floor, radius: 2, color: "#c8c8c8") }
    parts += result.curve.points.map { dot($0.keptFraction, $0.binary.agreement, floor, radius: 3, color: "#7aa6d8") }
    let line = front.map { point in
      "\(number(x(point.keptFraction, floor))),\(number(y(point.binary.agreement)))"
    }
    parts.append(
      "<polyline fill=\"none\" stroke=\"#1f5fa8\" stroke-width=\"2\" points=\"\(line.joined(separator: " "))\"/>")
    parts.append(dot(result.point.keptFraction, result.point.binary.agreement, floor, radius: 6, color: "#d1442f"))
    parts.append(
      "<text x=\"\(Int(width / 2))\" y=\"20\" text-anchor=\"middle\">\(escaped(result.region.name)): "
        + "\(result.point.selection.keptCount) of \(result.point.selection.units.count) units, agreement "
        + "\(percent(result.point.binary.agreement))</text>")
    parts.append("</svg>\n")
    return parts.joined(separator: "\n")
  }

  /// The best agreement reached at each size or below it, from the smallest chain on.
  private func upperEnvelope() -> [ChainPoint] {
    var front: [ChainPoint] = []
    for point in result.curve.points.reversed() {
      if let best = front.last, best.binary.agreement > point.binary.agreement { continue }
      front.append(point)
    }
    return front
  }

  private func axes(floor: Double) -> [String] {
    var parts: [String] = []
    for tenth in stride(from: 0, through: 10, by: 2) {
      let value = Double(tenth) / 10
      parts.append(
        "<line x1=\"\(Int(margin))\" x2=\"\(Int(width - 16))\" y1=\"\(number(y(value)))\" y2=\"\(number(y(value)))\" "
          + "stroke=\"#e4e4e4\"/><text x=\"\(Int(margin) - 8)\" y=\"\(number(y(value) + 4))\" text-anchor=\"end\">"
          + "\(tenth * 10) %</text>")
    }
    for value in [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1] where value >= floor * 0.999 {
      parts.append(
        "<text x=\"\(number(x(value, floor)))\" y=\"\(Int(height - margin + 20))\" "
          + "text-anchor=\"\(value == 1 ? "end" : "middle")\">"
          + "\(percent(value))</text>")
    }
    parts.append(
      "<text x=\"\(Int(width / 2))\" y=\"\(Int(height - 12))\" text-anchor=\"middle\">units kept "
        + "(blue: binary agreement; grey: soft; red: the answer)</text>")
    return parts
  }

  private func dot(_ fraction: Double, _ agreement: Double, _ floor: Double, radius: Int, color: String) -> String {
    "<circle cx=\"\(number(x(fraction, floor)))\" cy=\"\(number(y(agreement)))\" r=\"\(radius)\" fill=\"\(color)\"/>"
  }

  private func x(_ fraction: Double, _ floor: Double) -> Double {
    margin + (width - margin - 16) * (1 - log(max(fraction, floor)) / log(floor))
  }

  private func y(_ agreement: Double) -> Double { height - margin - (height - margin - 36) * agreement }

  private func number(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

  private func escaped(_ text: String) -> String {
    text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
  }
}
