/// The names of a network's classes: a text file with one name per line, line 1 for class 0.
public enum Labels {
  /// Reads the file at `path`. Empty lines at the end are dropped; Windows' line ends are understood.
  public static func read(_ path: String) throws(FileError) -> [String] {
    guard let text = String(validating: try readFile(path), as: UTF8.self) else {
      throw FileError(.malformed, path, "is not UTF-8 text; one class name per line is needed")
    }
    var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).map { line in
      String(line.drop { $0.isWhitespace || $0 == "\u{feff}" }.trimmingSuffix())
    }
    while lines.last == "" { lines.removeLast() }
    guard !lines.isEmpty else { throw FileError(.unsuitable, path, "is empty; one class name per line is needed") }
    return lines
  }
}

extension Substring {
  fileprivate func trimmingSuffix() -> Substring {
    var text = self
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
