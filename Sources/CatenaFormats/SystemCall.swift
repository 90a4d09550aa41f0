import Glibc

/// The system's words for an error number.
func systemMessage(_ code: Int32) -> String {
  withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
    guard let start = buffer.baseAddress else { return "error \(code)" }
    buffer.initialize(repeating: 0)
    guard strerror_r(code, start, buffer.count) == 0 else { return "error \(code)" }
    return "\(String(cString: start)) (error \(code))"
  }
}

extension FileError {
  /// The error of a call that reads and failed with `code`.
  static func reading(_ path: String, _ code: Int32) -> FileError {
    code == ENOENT || code == ENOTDIR
      ? FileError(.missing, path, "there is no such file or folder")
      : FileError(.unreadable, path, "cannot be read: \(systemMessage(code))")
  }

  /// The error of a call that writes and failed with `code`.
  static func writing(_ path: String, _ code: Int32) -> FileError {
    switch code {
    case ENOSPC, EDQUOT, EFBIG:
      FileError(.diskFull, path, "cannot be written: \(systemMessage(code)); free some space or choose another folder")
    case ENOENT, ENOTDIR:
      FileError(.unwritable, path, "cannot be written: the folder it belongs in does not exist")
    default:
      FileError(.unwritable, path, "cannot be written: \(systemMessage(code))")
    }
  }
}

/// The kind of thing that a path names; symbolic links are followed.
package enum PathKind {
  case file(byteCount: Int)
  case folder
  case other

  package init(of path: String) throws(FileError) {
    var status = stat()
    guard stat(path, &status) == 0 else { throw .reading(path, errno) }
    switch status.st_mode & S_IFMT {
    case S_IFREG: self = .file(byteCount: Int(status.st_size))
    case S_IFDIR: self = .folder
    default: self = .other
    }
  }
}

/// What `path` names, or `nil` for nothing.
package func existing(_ path: String) throws(FileError) -> PathKind? {
  do throws(FileError) {
    return try PathKind(of: path)
  } catch {
    guard error.kind == .missing else { throw error }
    return nil
  }
}

/// The names in the folder at `path`, in the order of their bytes.
package func folderEntries(_ path: String) throws(FileError) -> [String] {
  guard let folder = opendir(path) else { throw .reading(path, errno) }
  defer { closedir(folder) }
  var names: [String] = []
  errno = 0
  while let entry = readdir(folder) {
    let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
      pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
    if name != ".", name != ".." { names.append(name) }
    errno = 0
  }
  guard errno == 0 else { throw .reading(path, errno) }
  return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
}

/// The bytes of the regular file at `path`.
package func readFile(_ path: String) throws(FileError) -> [UInt8] {
  let size: Int
  switch try PathKind(of: path) {
  case .file(let byteCount): size = byteCount
  case .folder: throw FileError(.unsuitable, path, "is a folder where a file is needed")
  case .other: throw FileError(.unsuitable, path, "is a pipe or a device where a file is needed")
  }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .reading(path, errno) }
  defer { close(descriptor) }
  var failure: Int32 = 0
  let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
    while count < size {
      let received = read(descriptor, buffer.baseAddress.map { $0 + count }, size - count)
      if received < 0, errno == EINTR { continue }
      if received < 0 { failure = errno }
      if received <= 0 { break }
      count += received
    }
  }
  guard failure == 0 else { throw .reading(path, failure) }
  guard bytes.count == size else {
    throw FileError(.unreadable, path, "became shorter while it was read: \(bytes.count) of \(size) bytes")
  }
  return bytes
}
