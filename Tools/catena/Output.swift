import ArgumentParser
import Catena
import Foundation

/// Prints for people or for machines.
enum Output {
  /// Writes `value` to standard output as JSON.
  static func json(_ value: some Encodable) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    try line(String(decoding: try encoder.encode(value), as: UTF8.self))
  }

  /// Writes lines to standard output. A reader that went away wants no more of it: that is no error.
  /// - Throws: `FileError` when standard output cannot take them, as on a full disk.
  static func line(_ text: String = "") throws(FileError) {
    let code = write(text + "\n", to: STDOUT_FILENO)
    guard code != 0, code != EPIPE else { return }
    throw FileError(
      code == ENOSPC || code == EDQUOT || code == EFBIG ? .diskFull : .unwritable, "standard output",
      "cannot be written: \(String(cString: strerror(code)))")
  }

  /// Says where a file of names is not the network's: one line too many or too few shifts all of them.
  static func noteLabels(_ names: [String]?, classes: Int) {
    guard let names, names.count != classes else { return }
    note("there are \(names.count) names for \(classes) classes: they may be another network's, or shifted")
  }

  /// Writes a line to standard error. There is nowhere to say that this failed.
  static func note(_ text: String) { show(text + "\n") }

  /// Writes to standard error without ending the line.
  static func show(_ text: String) { _ = write(text, to: STDERR_FILENO) }

  /// Writes all of `text`; the system's error number, or 0.
  private static func write(_ text: String, to descriptor: Int32) -> Int32 {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
      if count >= 0 { rest = rest.dropFirst(count) } else if errno != EINTR { return errno }
    }
    return 0
  }

  /// Makes a folder, and those above it, unless it is there.
  static func makeFolder(_ path: String) throws(FileError) {
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw FileError(.unwritable, path, "the folder cannot be made: \(error.localizedDescription)")
    }
    guard FileManager.default.isWritableFile(atPath: path) else {
      throw FileError(.unwritable, path, "nothing can be written into this folder")
    }
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

  /// Shows how far a stage is, in words.
  func show(_ name: String, detail: String) {
    lock.withLock {
      begin(name)
      if isTerminal { Output.show("\r\u{1b}[K\(name)  \(detail)") }
    }
  }

  /// Another stage begins another line.
  private func begin(_ name: String) {
    guard name != stage else { return }
    if isTerminal, !stage.isEmpty { Output.show("\n") }
    stage = name
    started = Date()
    if !isTerminal { Output.show(name + "\n") }
  }

  /// Shows that `completed` of `total` are done.
  func show(_ name: String, _ completed: Int, of total: Int, detail: String = "") {
    lock.withLock {
      begin(name)
      guard isTerminal else { return }
      let elapsed = Date().timeIntervalSince(started)
      let left = completed > 0 ? Int(elapsed / Double(completed) * Double(total - completed)) : nil
      let eta = left.map { $0 > 0 ? "  \($0) s left" : "" } ?? ""
      Output.show("\r\u{1b}[K\(name)  \(completed)/\(total)  \(detail)\(eta)")
    }
  }

  /// Ends the line.
  func finish() {
    lock.withLock {
      if isTerminal, !stage.isEmpty { Output.show("\n") }
      stage = ""
    }
  }
}
