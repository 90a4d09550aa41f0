import ArgumentParser
import Catena
import Foundation

/// Prints for people or for machines.
enum Output {
  /// Writes `value` to standard output as JSON.
  static func json(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    print(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Writes a line to standard error.
  static func note(_ text: String) {
    FileHandle.standardError.write(Data((text + "\n").utf8))
  }

  static func percent(_ fraction: Double) -> String { String(format: "%.1f %%", fraction * 100) }

  static func bytes(_ count: Int) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(count)
    var unit = 0
    while value >= 1024, unit < units.count - 1 {
      value /= 1024
      unit += 1
    }
    return unit == 0 ? "\(count) B" : String(format: "%.1f %@", value, units[unit])
  }

  /// Rows under headings, columns aligned, numbers to the right.
  static func table(_ headings: [String], _ rows: [[String]]) -> String {
    let columns = headings.indices.map { column in
      ([headings] + rows).map { $0[column].count }.max() ?? 0
    }
    let isNumeric = headings.indices.map { column in
      rows.allSatisfy { row in row[column].isEmpty || row[column].first!.isNumber || row[column].hasPrefix("-") }
    }
    return ([headings] + rows).map { row in
      row.indices.map { column in
        let padding = String(repeating: " ", count: columns[column] - row[column].count)
        return isNumeric[column] ? padding + row[column] : row[column] + padding
      }.joined(separator: "  ").trimmingCharacters(in: .whitespaces.subtracting(.init(charactersIn: " ")))
    }.joined(separator: "\n")
  }
}

/// Progress on a terminal as one line that is written over, elsewhere one line per stage.
final class ProgressLine: @unchecked Sendable {
  private let lock = NSLock()
  private let isTerminal = isatty(STDERR_FILENO) != 0
  private var stage = ""
  private var started = Date()

  /// Shows that `completed` of `total` are done.
  func show(_ name: String, _ completed: Int, of total: Int, detail: String = "") {
    lock.withLock {
      if name != stage {
        if isTerminal, !stage.isEmpty { write("\n") }
        stage = name
        started = Date()
        if !isTerminal { write(name + "\n") }
      }
      guard isTerminal else { return }
      let elapsed = Date().timeIntervalSince(started)
      let left = completed > 0 ? Int(elapsed / Double(completed) * Double(total - completed)) : nil
      let eta = left.map { $0 > 0 ? "  \($0) s left" : "" } ?? ""
      write("\r\u{1b}[K\(name)  \(completed)/\(total)  \(detail)\(eta)")
    }
  }

  /// Ends the line.
  func finish() {
    lock.withLock {
      if isTerminal, !stage.isEmpty { write("\n") }
      stage = ""
    }
  }

  private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
