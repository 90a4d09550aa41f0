import CatenaTensors
import Foundation

/// Where built programs are kept from one process to the next.
public enum ProgramCacheLocation: Sendable, Hashable {
  /// What the environment variable `CATENA_CACHE` says (a folder, or `off`), else the folder `catena` in
  /// `XDG_CACHE_HOME`, else `~/.cache/catena`.
  case standard
  /// A folder, made when it is first written to.
  case folder(String)
  /// Nowhere: every process builds for itself.
  case off

  /// The folder that is meant; `nil` for none.
  package func folder(environment: [String: String]) -> String? {
    switch self {
    case .off: return nil
    case .folder(let path): return path
    case .standard:
      if let named = environment["CATENA_CACHE"], !named.isEmpty { return named == "off" ? nil : named }
      // The convention: a relative path is to be ignored.
      if let base = environment["XDG_CACHE_HOME"], base.hasPrefix("/") { return base + "/catena" }
      return environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 + "/.cache/catena" : nil }
    }
  }
}

/// Built programs, and what tuning found, in a folder, one file each, named by what they were made from. Safe for several processes: a file
/// appears complete, under its name, or not at all, and what does not carry its own digest is not used.
package struct ProgramStore: Sendable {
  /// What a file holds.
  package enum Kind: String, Sendable { case program = "clbin", tuning = "tuned" }

  /// What a file is found to be.
  package enum Finding: Sendable, Hashable {
    case absent
    /// It was there and not what was kept; it is removed.
    case damaged
    case payload([UInt8])
  }

  /// What a program is built from, or what parameters were tuned for: everything that the result depends on.
  package struct Key: Sendable, Hashable {
    package let digest: [UInt8]
    package let kind: Kind

    /// - Parameters:
    ///   - device: what tells one device and driver from another.
    ///   - options: the build options.
    ///   - source: the program's text.
    ///   - kind: what is kept under it.
    package init(device: [String], options: String, source: String, kind: Kind = .program) {
      self.kind = kind
      var hash = SHA256()
      for part in device + [options, source] {
        // The length keeps parts apart.
        hash.update(Array("\(part.utf8.count):".utf8))
        hash.update(Array(part.utf8))
      }
      digest = hash.digest()
    }

    package var fileName: String { digest.map { String(format: "%02x", $0) }.joined() + "." + kind.rawValue }
  }

  private static let magic = Array("CATENACL".utf8)
  private static let headerByteCount = 8 + 32 + 8 + 32
  /// What the folder may hold before the files that were not used for the longest time are removed.
  private static let byteLimit = 256 << 20

  package let folder: String

  package init(folder: String) { self.folder = folder }

  /// What was kept under `key`; `nil` when there is nothing that can be used.
  package func load(_ key: Key) -> [UInt8]? {
    if case .payload(let payload) = find(key) { payload } else { nil }
  }

  /// Looks for what was kept under `key`; a file that is damaged is removed.
  package func find(_ key: Key) -> Finding {
    let path = path(of: key)
    guard let file = FileManager.default.contents(atPath: path) else { return .absent }
    guard let payload = Self.payload(of: Array(file), key) else {
      unlink(path)
      return .damaged
    }
    // Marks the file as used, for `removeOldest`; a folder that cannot be written is as good.
    utimes(path, nil)
    return .payload(payload)
  }

  /// Whether the folder, which is made where there is none, can be written.
  package var isWritable: Bool {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch { return false }
    return access(folder, W_OK | X_OK) == 0
  }

  /// Keeps what was made.
  /// - Returns: Whether it is kept. A store that cannot be written keeps nothing: the next process makes it again.
  @discardableResult
  package func save(_ payload: [UInt8], _ key: Key) -> Bool {
    guard isWritable else { return false }
    let temporary = folder + "/.\(getpid())-\(UInt64.random(in: 0...UInt64.max)).tmp"
    guard Self.write(Self.file(payload, key), to: temporary), rename(temporary, path(of: key)) == 0 else {
      unlink(temporary)
      return false
    }
    removeOldest()
    return true
  }

  /// Forgets it, because the driver refuses it or it is no longer true.
  package func remove(_ key: Key) { unlink(path(of: key)) }

  private func path(of key: Key) -> String { folder + "/" + key.fileName }

  // MARK: Files

  private static func file(_ payload: [UInt8], _ key: Key) -> [UInt8] {
    magic + key.digest + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (8 * $0)) } + digest(payload)
      + payload
  }

  /// What a file holds, unless it is cut off, altered or another program's.
  private static func payload(of file: [UInt8], _ key: Key) -> [UInt8]? {
    guard file.count > headerByteCount, Array(file[..<8]) == magic, Array(file[8..<40]) == key.digest else {
      return nil
    }
    let count = (0..<8).reduce(UInt64(0)) { $0 | UInt64(file[40 + $1]) << (8 * UInt64($1)) }
    guard count == UInt64(file.count - headerByteCount) else { return nil }
    let payload = Array(file[headerByteCount...])
    return Array(file[48..<80]) == digest(payload) ? payload : nil
  }

  private static func digest(_ bytes: [UInt8]) -> [UInt8] {
    var hash = SHA256()
    hash.update(bytes)
    return hash.digest()
  }

  private static func write(_ bytes: [UInt8], to path: String) -> Bool {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { return false }
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 { rest = rest.dropFirst(count) } else if errno != EINTR { break }
    }
    let isSynced = fsync(descriptor) == 0
    return close(descriptor) == 0 && isSynced && rest.isEmpty
  }

  /// Keeps the folder within its limit. Another process may remove the same files: that is no error.
  private func removeOldest() {
    let names: [String]
    do { names = try FileManager.default.contentsOfDirectory(atPath: folder) } catch { return }
    var files: [(path: String, bytes: Int, used: Int)] = []
    for name in names where name.hasSuffix(".clbin") || name.hasSuffix(".tmp") {
      var status = stat()
      guard stat(folder + "/" + name, &status) == 0 else { continue }
      files.append((folder + "/" + name, Int(status.st_size), status.st_mtim.tv_sec))
    }
    var total = files.reduce(0) { $0 + $1.bytes }
    for file in files.sorted(by: { $0.used < $1.used }) where total > Self.byteLimit {
      unlink(file.path)
      total -= file.bytes
    }
  }
}
