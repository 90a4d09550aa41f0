/// What was wrong with a file, a folder or the data in it, and what to do about it.
public struct FileError: Error, Sendable, Hashable {
  /// The kind of a problem, for callers that act on it.
  public enum Kind: String, Sendable, Hashable {
    /// There is nothing under that path.
    case missing
    /// The system refused to read it.
    case unreadable
    /// The system refused to write it.
    case unwritable
    /// The device that holds it is full.
    case diskFull
    /// Something is there that was not to be replaced.
    case exists
    /// The data ends before it is complete.
    case truncated
    /// The data breaks the rules of its format.
    case malformed
    /// The data may be right, but uses what is not supported.
    case unsupported
    /// The data announces more than the limits allow.
    case tooLarge
    /// The data is right, but is no use here: another kind of file, or another shape than needed.
    case unsuitable
    /// The selection behind the file's name, or another argument, does not make sense.
    case badArgument
  }

  /// The kind of the problem.
  public let kind: Kind
  /// The file or folder, with the selection or part inside it where there is one.
  public let path: String
  /// What was wrong and what to do about it, without the path.
  public let reason: String

  /// A problem of `kind` with the file at `path`.
  public init(_ kind: Kind, _ path: String, _ reason: String) {
    self.kind = kind
    self.path = path
    self.reason = reason
  }
}

extension FileError: CustomStringConvertible {
  /// The path and the reason, on one line.
  public var description: String { "\(path): \(reason)" }
}
