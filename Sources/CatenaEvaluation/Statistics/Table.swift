import Foundation

/// A table of results: for people as aligned text, for programs as CSV and JSON. All three say the same.
public struct Table: Sendable, Hashable {
  /// How the numbers of a column are written as text. CSV and JSON have all digits.
  public enum Style: Sendable, Hashable {
    /// With this many digits behind the point.
    case decimal(Int)
    /// A fraction as a percentage with this many digits behind the point; CSV and JSON have the fraction.
    case percent(Int)
  }

  /// A column.
  public struct Column: Sendable, Hashable {
    /// The name in CSV and JSON.
    public var key: String
    /// The heading for people.
    public var heading: String
    /// How its numbers are written as text.
    public var style: Style

    /// A column; without a heading the key is the heading.
    public init(_ key: String, heading: String? = nil, style: Style = .decimal(3)) {
      self.key = key
      self.heading = heading ?? key
      self.style = style
    }
  }

  /// What a cell holds.
  public enum Cell: Sendable, Hashable {
    /// Words.
    case text(String)
    /// A count.
    case count(Int)
    /// A number.
    case number(Double)
    /// An estimate with its interval.
    case interval(Interval)
    /// Nothing: the value does not exist.
    case missing
  }

  /// The name in files: a word.
  public var name: String
  /// The heading for people.
  public var title: String
  /// What is to be known for reading it: what was averaged, over how many, the confidence of the intervals.
  public var notes: [String]
  /// The columns.
  public var columns: [Column]
  /// The rows; each has one cell per column.
  public private(set) var rows: [[Cell]]

  /// A table without rows.
  public init(name: String, title: String, columns: [Column], notes: [String] = []) {
    self.name = name
    self.title = title
    self.columns = columns
    self.notes = notes
    rows = []
  }

  /// Adds a row.
  /// - Precondition: one cell per column.
  public mutating func append(_ row: [Cell]) {
    precondition(row.count == columns.count, "one cell per column")
    rows.append(row)
  }
}

// MARK: - For people

extension Table {
  /// The title, the aligned columns, the notes. Words to the left, numbers to the right; an interval as
  /// `0.912 [0.880, 0.941]` or `91.2 % [88.0, 94.1]`.
  public var text: String {
    let cells = rows.map { row in zip(row, columns).map { $0.text($1.style) } }
    let isNumeric = columns.indices.map { column in
      rows.allSatisfy { row in if case .text = row[column] { false } else { true } }
    }
    let widths = columns.indices.map { column in
      ([columns[column].heading] + cells.map { $0[column] }).map(\.count).max() ?? 0
    }
    func line(_ cells: [String]) -> String {
      let padded = cells.indices.map { column in
        let padding = String(repeating: " ", count: widths[column] - cells[column].count)
        return isNumeric[column] ? padding + cells[column] : cells[column] + padding
      }
      return trimmedRight(padded.joined(separator: "  "))
    }
    let rule = String(repeating: "-", count: max(widths.reduce(0, +) + 2 * (widths.count - 1), 0))
    let lines = [title, rule, line(columns.map(\.heading)), rule] + cells.map(line) + [rule] + notes
    return lines.joined(separator: "\n")
  }

  private func trimmedRight(_ line: String) -> String {
    var line = Substring(line)
    while line.last == " " { line.removeLast() }
    return String(line)
  }
}

extension Table.Cell {
  fileprivate func text(_ style: Table.Style) -> String {
    switch self {
    case .text(let text): text
    case .count(let count): "\(count)"
    case .number(let number): style.text(number)
    case .interval(let interval) where interval.isBounded:
      "\(style.text(interval.estimate)) [\(style.digits(interval.lower)), \(style.digits(interval.upper))]"
    case .interval(let interval): style.text(interval.estimate)
    case .missing: "-"
    }
  }
}

extension Table.Style {
  fileprivate func text(_ number: Double) -> String {
    guard number.isFinite, case .percent = self else { return digits(number) }
    return digits(number) + " %"
  }

  /// The number without its unit.
  fileprivate func digits(_ number: Double) -> String {
    guard number.isFinite else { return number.isNaN ? "-" : number > 0 ? "inf" : "-inf" }
    return switch self {
    case .decimal(let digits): String(format: "%.\(digits)f", number)
    case .percent(let digits): String(format: "%.\(digits)f", number * 100)
    }
  }
}

// MARK: - For programs

extension Table {
  /// CSV (RFC 4180) with a heading line. A column with intervals is three: `key`, `key_lower`, `key_upper`; what does
  /// not exist or is not known is empty, and what has no bound is `inf`.
  public var csv: String {
    let hasInterval = columns.indices.map { column in
      rows.contains { row in if case .interval = row[column] { true } else { false } }
    }
    let heading = columns.indices.flatMap { column in
      let key = quoted(columns[column].key)
      return hasInterval[column] ? [key, key + "_lower", key + "_upper"] : [key]
    }
    let lines = rows.map { row in
      row.indices.flatMap { column -> [String] in
        switch row[column] {
        case .interval(let interval):
          [number(interval.estimate)]
            + [interval.lower, interval.upper].map { $0.isFinite ? number($0) : "" }
        case .text(let text): [quoted(text)] + filling(hasInterval[column])
        case .count(let count): ["\(count)"] + filling(hasInterval[column])
        case .number(let value): [number(value)] + filling(hasInterval[column])
        case .missing: [""] + filling(hasInterval[column])
        }
      }
    }
    return ([heading] + lines).map { $0.joined(separator: ",") + "\n" }.joined()
  }

  private func filling(_ hasInterval: Bool) -> [String] { hasInterval ? ["", ""] : [] }

  private func number(_ value: Double) -> String {
    value.isNaN ? "" : value.isInfinite ? (value > 0 ? "inf" : "-inf") : "\(value)"
  }

  private func quoted(_ text: String) -> String {
    guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
    return "\"" + text.replacingOccurrences(of: "\"", with: "\"\"") + "\""
  }
}

/// As JSON: `{"name", "title", "notes", "rows": [{key: value, ...}]}` with a text, a number, `null` for what does not
/// exist, the texts `inf` and `-inf` for what has no bound, or `{"estimate", "lower", "upper"}`.
extension Table: Encodable {
  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(_ text: String) { stringValue = text }
    init?(stringValue: String) { self.init(stringValue) }
    init?(intValue: Int) { nil }
  }

  /// Writes the table; see above for the form.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: Key("name"))
    try container.encode(title, forKey: Key("title"))
    try container.encode(notes, forKey: Key("notes"))
    var list = container.nestedUnkeyedContainer(forKey: Key("rows"))
    for row in rows {
      var object = list.nestedContainer(keyedBy: Key.self)
      for (column, cell) in zip(columns, row) {
        let key = Key(column.key)
        switch cell {
        case .text(let text): try object.encode(text, forKey: key)
        case .count(let count): try object.encode(count, forKey: key)
        case .number(let number) where number.isFinite: try object.encode(number, forKey: key)
        case .number(let number) where number.isInfinite: try object.encode(number > 0 ? "inf" : "-inf", forKey: key)
        case .interval(let interval): try object.encode(interval, forKey: key)
        case .number, .missing: try object.encodeNil(forKey: key)
        }
      }
    }
  }
}
