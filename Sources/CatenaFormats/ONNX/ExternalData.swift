import CatenaTensors
import FoundationEssentials
import Glibc

/// Where a tensor lies outside the model's own file. The file must lie inside the model's folder: a path that leaves
/// it, itself or through a symbolic link, is refused.
struct ExternalData {
  private let name: String
  private let location: String
  private let offset: Int
  private let length: Int?

  init(_ proto: Onnx_TensorProto) throws(ONNXError) {
    var entries: [String: String] = [:]
    for entry in proto.externalData {
      guard entries.updateValue(entry.value, forKey: entry.key) == nil else {
        throw .tensor(name: proto.name, reason: "its external data has two entries '\(entry.key)'")
      }
    }
    func number(_ key: String) throws(ONNXError) -> Int? {
      guard let text = entries[key] else { return nil }
      guard let value = Int(text), value >= 0 else {
        throw .tensor(name: proto.name, reason: "the \(key) '\(text)' of its external data is no count of bytes")
      }
      return value
    }
    guard let location = entries["location"], !location.isEmpty, !location.utf8.contains(0) else {
      throw .tensor(name: proto.name, reason: "its external data has no location")
    }
    name = proto.name
    self.location = location
    offset = try number("offset") ?? 0
    length = try number("length")
  }

  /// The tensor's bytes.
  func read(byteCount: Int, in directory: String) throws(ONNXError) -> Data {
    func failure(_ reason: String) -> ONNXError {
      .tensor(name: name, reason: "its external data in '\(location)' \(reason)")
    }
    guard !location.hasPrefix("/"), !location.split(separator: "/").contains("..") else {
      throw failure("lies outside the model's folder")
    }
    guard let folder = resolved(directory), let path = resolved(directory + "/" + location) else {
      throw failure("cannot be found: \(systemMessage(errno))")
    }
    guard path.hasPrefix(folder == "/" ? "/" : folder + "/") else { throw failure("lies outside the model's folder") }
    if let length, length != byteCount {
      throw failure("has \(length) bytes; its shape and element type need \(byteCount)")
    }
    let bytes: [UInt8]?
    do throws(FileError) { bytes = try readRange(path, offset: offset, byteCount: byteCount) } catch {
      throw .file(error)
    }
    guard let bytes else { throw failure("would end at byte \(offset) + \(byteCount), behind the file's end") }
    return Data(bytes)
  }

  private func resolved(_ path: String) -> String? {
    guard let name = realpath(path, nil) else { return nil }
    defer { free(name) }
    return String(cString: name)
  }
}

/// A part of the regular file at `path`, `nil` when the file ends before it does. Nothing is reserved before that is
/// known.
private func readRange(_ path: String, offset: Int, byteCount: Int) throws(FileError) -> [UInt8]? {
  guard case .file(let size) = try PathKind(of: path) else {
    throw FileError(.unsuitable, path, "is a folder or a device where a file is needed")
  }
  guard offset <= size, byteCount <= size - offset else { return nil }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw .reading(path, errno) }
  defer { close(descriptor) }
  var failure: Int32 = 0
  let bytes = [UInt8](unsafeUninitializedCapacity: byteCount) { buffer, count in
    while count < byteCount {
      let received = pread(descriptor, buffer.baseAddress.map { $0 + count }, byteCount - count, offset + count)
      if received < 0, errno == EINTR { continue }
      if received < 0 { failure = errno }
      if received <= 0 { break }
      count += received
    }
  }
  guard failure == 0 else { throw .reading(path, failure) }
  return bytes.count == byteCount ? bytes : nil
}
