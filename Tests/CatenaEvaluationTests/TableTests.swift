import CatenaEvaluation
import Foundation
import Testing

@Suite("tables")
struct TableTests {
  static var table: Table {
    var table = Table(
      name: "fidelity", title: "Fidelity",
      columns: [
        .init("method"), .init("units", heading: "units kept", style: .percent(1)), .init("kl", heading: "KL"),
        .init("n"),
      ], notes: ["95 % intervals"])
    table.append([
      .text("chain"), .number(0.0954), .interval(Interval(estimate: 0.04, lower: 0.03, upper: 0.055)), .count(10),
    ])
    table.append([.text("L1, \"largest\""), .number(0.1), .interval(Interval(estimate: .infinity)), .missing])
    return table
  }

  @Test("as text are aligned, with intervals")
  func text() {
    #expect(
      Self.table.text
        == """
        Fidelity
        ---------------------------------------------------
        method         units kept                    KL   n
        ---------------------------------------------------
        chain               9.5 %  0.040 [0.030, 0.055]  10
        L1, "largest"      10.0 %                   inf   -
        ---------------------------------------------------
        95 % intervals
        """)
  }

  @Test("as CSV have all digits, the ends of intervals in columns of their own")
  func csv() {
    #expect(
      Self.table.csv == """
        method,units,kl,kl_lower,kl_upper,n
        chain,0.0954,0.04,0.03,0.055,10
        "L1, ""largest""\",0.1,inf,,,

        """)
  }

  @Test("as JSON are rows of named values")
  func json() throws {
    let encoder = JSONEncoder()
    let object = try #require(
      try JSONSerialization.jsonObject(with: encoder.encode(Self.table)) as? [String: Any])
    #expect(object["name"] as? String == "fidelity")
    let rows = try #require(object["rows"] as? [[String: Any]])
    #expect(rows[0]["method"] as? String == "chain" && rows[0]["n"] as? Int == 10)
    #expect(rows[0]["kl"] as? [String: Double] == ["estimate": 0.04, "lower": 0.03, "upper": 0.055])
    #expect(rows[1]["n"] is NSNull)
    let unknown = try #require(rows[1]["kl"] as? [String: Any])
    #expect(unknown["lower"] is NSNull && unknown["upper"] is NSNull)
  }
}
