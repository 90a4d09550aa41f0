import Glibc
import Synchronization

/// A file that appears under its name complete or not at all.
///
/// The bytes go to a temporary name in the same folder; `commit()` syncs them to the disk and renames. A writer that is
/// dropped before `commit()` removes what it wrote.
public struct AtomicFile: ~Copyable {
  /// The name that the file gets at last.
  public let path: String
  private let temporaryPath: String
  private var descriptor: Int32

  /// Starts the file that shall be called `path`; a file of that name stays as it is until `commit()`.
  public init(_ path: String) throws(FileError) {
    switch try existing(path) {
    case nil, .file: break
    case .folder, .other:
      throw FileError(.exists, path, "cannot be written: a folder, pipe or device of that name exists")
    }
    let (name, opened) = try makeTemporary(for: path) { open($0, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666) }
    self.path = path
    temporaryPath = name
    descriptor = opened
  }

  /// Throws where a file has no name, or would take the place of one that is read, once it gets its name.
  /// - Parameter read: files that the work reads; what is no file is left out.
  public static func refuse(_ path: String, inPlaceOf read: [String]) throws(FileError) {
    try requireName(path)
    guard try existing(path) != nil else { return }
    for file in read where try existing(file) != nil {
      if try resolved(file) == resolved(path) {
        throw FileError(.badArgument, path, "is '\(file)', which is read, and would be replaced: choose another name")
      }
    }
  }

  /// Appends `bytes`.
  public mutating func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
    var rest = bytes
    while !rest.isEmpty {
      let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw .writing(path, errno) }
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    }
  }

  /// Appends `bytes`.
  public mutating func write(_ bytes: [UInt8]) throws(FileError) {
    try bytes.withUnsafeBufferPointer { (buffer) throws(FileError) in try write(UnsafeRawBufferPointer(buffer)) }
  }

  /// Syncs what was written and gives the file its name, in place of a file that had it.
  public consuming func commit() throws(FileError) {
    guard fsync(descriptor) == 0 else { throw .writing(path, errno) }
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0 else { throw .writing(path, errno) }
    guard rename(temporaryPath, path) == 0 else { throw .writing(path, errno) }
    try syncFolder(parentFolder(of: path))
  }

  /// Writes the whole file `path` at once.
  public static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
    var file = try AtomicFile(path)
    try file.write(bytes)
    try file.commit()
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    // After a commit there is nothing of that name any more.
    unlink(temporaryPath)
    Unfinished.forget(temporaryPath)
  }
}

/// A folder that appears under its name complete or not at all.
///
/// Its files are written into `temporaryPath`; `commit()` syncs them to the disk and renames the folder. A folder that is
/// dropped before `commit()` is removed with all that is in it.
public struct AtomicDirectory: ~Copyable {
  /// The name that the folder gets at last.
  public let path: String
  /// The folder to write into until `commit()`.
  public let temporaryPath: String
  private let replacing: Bool

  /// Starts the folder that shall be called `path`.
  ///
  /// A folder of that name must be empty, unless `replacing` says that `commit()` shall put the new one in its place.
  /// - Parameter read: files and folders that the work reads: none may go with a folder that is replaced.
  public init(_ path: String, replacing: Bool = false, keeping read: [String] = []) throws(FileError) {
    // A symbolic link to a folder stands for that folder: a rename would replace the link.
    let target = try existing(path) == nil ? withoutTrailingSlashes(path) : resolved(path)
    try refuseOccupied(target, replacing: replacing)
    for file in read {
      guard try existing(file) != nil, try existing(target) != nil else { continue }
      guard try (resolved(file) + "/").hasPrefix(resolved(target) + "/") else { continue }
      throw FileError(
        .badArgument, path, "the folder has '\(file)', which is read, and would be replaced: choose another")
    }
    let name = try makeTemporary(for: target) { mkdir($0, 0o777) }.name
    self.path = target
    self.replacing = replacing
    temporaryPath = name
  }

  /// Syncs all that is in the folder and gives it its name.
  public consuming func commit() throws(FileError) {
    try syncTree(temporaryPath)
    try refuseOccupied(path, replacing: replacing)
    if rename(temporaryPath, path) != 0 {
      guard replacing, errno == ENOTEMPTY || errno == EEXIST else { throw .writing(path, errno) }
      try replaceOccupied()
    }
    try syncFolder(parentFolder(of: path))
  }

  /// Moves the old folder aside, and back if the new one cannot follow: the system has no call that replaces a folder
  /// with content. Killed between the two moves, both are whole under their temporary names.
  private borrowing func replaceOccupied() throws(FileError) {
    let aside = temporaryPath + ".old"
    guard rename(path, aside) == 0 else { throw .writing(path, errno) }
    guard rename(temporaryPath, path) == 0 else {
      let code = errno
      rename(aside, path)
      throw .writing(path, code)
    }
    removeTree(aside)
  }

  deinit {
    removeTree(temporaryPath)
    Unfinished.forget(temporaryPath)
  }
}

/// What has been begun under temporary names, for a program that ends without ending its work.
public enum Unfinished {
  private static let names = Mutex<Set<String>>([])

  /// Removes all of it.
  public static func removeAll() {
    for name in names.withLock({ $0 }) { removeTree(name) }
  }

  fileprivate static func note(_ name: String) { names.withLock { _ = $0.insert(name) } }
  fileprivate static func forget(_ name: String) { names.withLock { _ = $0.remove(name) } }
}

// MARK: - Steps

private func refuseOccupied(_ path: String, replacing: Bool) throws(FileError) {
  guard let kind = try existing(path) else { return }
  guard case .folder = kind else {
    throw FileError(.exists, path, "is not a folder; choose another name for the output folder")
  }
  if replacing { return }
  guard try folderEntries(path).isEmpty else {
    throw FileError(
      .exists, path, "the folder exists and is not empty; choose another name or ask to replace it (--overwrite)")
  }
}

/// An empty name is what an unset variable of the shell gives.
private func requireName(_ path: String) throws(FileError) {
  if path.isEmpty { throw FileError(.badArgument, "''", "is no name for a file or folder") }
}

/// Calls `make` with unused names beside `path` until one is free, and gives that name and `make`'s result.
private func makeTemporary(
  for path: String, _ make: (String) -> Int32
) throws(FileError) -> (name: String, result: Int32) {
  try requireName(path)
  while true {
    let suffix = String(UInt32.random(in: 0...UInt32.max), radix: 36)
    let name = "\(path).tmp-\(suffix)"
    let result = make(name)
    if result >= 0 {
      Unfinished.note(name)
      return (name, result)
    }
    guard errno == EEXIST || errno == EINTR else { throw .writing(path, errno) }
  }
}

private func withoutTrailingSlashes(_ path: String) -> String {
  var path = path[...]
  while path.count > 1, path.hasSuffix("/") { path = path.dropLast() }
  return String(path)
}

private func resolved(_ path: String) throws(FileError) -> String {
  guard let name = realpath(path, nil) else { throw .reading(path, errno) }
  defer { free(name) }
  return String(cString: name)
}

private func parentFolder(of path: String) -> String {
  guard let slash = path.lastIndex(of: "/") else { return "." }
  return slash == path.startIndex ? "/" : String(path[..<slash])
}

private func syncFolder(_ path: String) throws(FileError) { try sync(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }

private func sync(_ path: String, _ flags: Int32) throws(FileError) {
  let descriptor = open(path, flags)
  guard descriptor >= 0 else { throw .writing(path, errno) }
  defer { close(descriptor) }
  // Some file systems have nothing to sync for a folder and say so.
  guard fsync(descriptor) == 0 || errno == EINVAL else { throw .writing(path, errno) }
}

private func syncTree(_ path: String) throws(FileError) {
  for name in try folderEntries(path) {
    let entry = path + "/" + name
    switch try PathKind(of: entry) {
    case .folder: try syncTree(entry)
    case .file: try sync(entry, O_RDONLY | O_CLOEXEC)
    case .other: continue
    }
  }
  try syncFolder(path)
}

/// Removes `path` with all that is in it, as far as the system allows; symbolic links are not followed.
private func removeTree(_ path: String) {
  if unlink(path) == 0 || errno == ENOENT { return }
  do throws(FileError) {
    for name in try folderEntries(path) { removeTree(path + "/" + name) }
  } catch {
    // What cannot be listed cannot be removed; this runs where no error can be thrown.
    return
  }
  rmdir(path)
}
