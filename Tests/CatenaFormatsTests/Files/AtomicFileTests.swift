import CatenaFormats
import Foundation
import TestSupport
import Testing

@Suite("Files and folders that appear whole or not at all")
struct AtomicFileTests {
  @Test("A committed file has its bytes and leaves nothing beside it")
  func commit() throws {
    let folder = try TemporaryFolder()
    try folder.write([9, 9, 9], to: "a")
    var file = try AtomicFile(folder.file("a"))
    try file.write([1, 2])
    try file.write([])
    try file.write([3])
    #expect(try folder.bytes(of: "a") == [9, 9, 9])
    try file.commit()
    #expect(try folder.bytes(of: "a") == [1, 2, 3])
    #expect(try folder.names == ["a"])
  }

  @Test("A dropped file leaves nothing")
  func drop() throws {
    let folder = try TemporaryFolder()
    do {
      var file = try AtomicFile(folder.file("a"))
      try file.write([1, 2])
      #expect(try folder.names.count == 1)
    }
    #expect(try folder.names == [])
  }

  @Test("A missing parent and a folder of that name are errors")
  func refusals() throws {
    let folder = try TemporaryFolder()
    #expect(fileError { () throws(FileError) in try AtomicFile.write([1], to: folder.path) }?.kind == .exists)
    let orphan = folder.file("none/a")
    let error = fileError { () throws(FileError) in try AtomicFile.write([1], to: orphan) }
    #expect(error?.kind == .unwritable)
    #expect(error?.path == orphan)
  }

  @Test("Nothing takes the place of what is read, or has no name")
  func places() throws {
    let folder = try TemporaryFolder()
    try folder.write([1], to: "network")
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("link"), withDestinationPath: folder.file("network"))
    let read = [folder.file("none"), folder.file("network")]
    for name in ["network", "link", "./network"] {
      let error = fileError { () throws(FileError) in try AtomicFile.refuse(folder.file(name), inPlaceOf: read) }
      #expect(error?.kind == .badArgument, "\(name)")
    }
    try AtomicFile.refuse(folder.file("other"), inPlaceOf: read)
    #expect(fileError { () throws(FileError) in try AtomicFile.write([1], to: "") }?.kind == .badArgument)
    #expect(fileError { () throws(FileError) in _ = try AtomicDirectory("") }?.kind == .badArgument)
  }

  @Test("What was begun can be removed when a program ends")
  func unfinished() async throws {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryFolder()
      let output = try AtomicDirectory(folder.file("out"))
      try AtomicFile.write([1], to: output.temporaryPath + "/a")
      let file = try AtomicFile(folder.file("b"))
      #expect(try folder.names.count == 2)
      Unfinished.removeAll()
      #expect(try folder.names == [])
      _ = consume output
      _ = consume file
    }
  }

  @Test("A committed folder has its files, with the permissions of any new folder")
  func commitFolder() throws {
    let folder = try TemporaryFolder()
    let output = try AtomicDirectory(folder.file("out/"))
    try AtomicFile.write([1], to: output.temporaryPath + "/a")
    try FileManager.default.createDirectory(
      atPath: output.temporaryPath + "/sub", withIntermediateDirectories: false)
    try AtomicFile.write([2], to: output.temporaryPath + "/sub/b")
    #expect(!FileManager.default.fileExists(atPath: folder.file("out")))
    try output.commit()
    #expect(try folder.names == ["out"])
    #expect(try folder.bytes(of: "out/sub/b") == [2])
  }

  @Test("A dropped folder leaves nothing and what was there stays")
  func dropFolder() throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.file("out"), withIntermediateDirectories: false)
    try folder.write([7], to: "out/old")
    do {
      let output = try AtomicDirectory(folder.file("out"), replacing: true)
      try AtomicFile.write([1], to: output.temporaryPath + "/a")
    }
    #expect(try folder.names == ["out"])
    #expect(try folder.bytes(of: "out/old") == [7])
  }

  @Test("A folder that is not empty is replaced only on request", arguments: [false, true])
  func occupied(replacing: Bool) throws {
    let folder = try TemporaryFolder()
    try FileManager.default.createDirectory(atPath: folder.file("out"), withIntermediateDirectories: false)
    let first = try AtomicDirectory(folder.file("out"))
    try AtomicFile.write([1], to: first.temporaryPath + "/a")
    try first.commit()

    let path = folder.file("out")
    let error = fileError { () throws(FileError) in
      let second = try AtomicDirectory(path, replacing: replacing)
      try AtomicFile.write([2], to: second.temporaryPath + "/b")
      try second.commit()
    }
    #expect(error?.kind == (replacing ? nil : .exists))
    #expect(try folder.names == ["out"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: path) == (replacing ? ["b"] : ["a"]))
  }

  @Test("A file where the folder should be is an error")
  func fileForFolder() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write([1], to: "out")
    #expect(fileError { () throws(FileError) in try AtomicDirectory(path, replacing: true) }?.kind == .exists)
  }

  @Test(
    "A folder without write permission is an error with the system's words",
    .enabled(if: geteuid() != 0, "the superuser may write everywhere"))
  func permission() throws {
    let folder = try TemporaryFolder()
    chmod(folder.path, 0o500)
    defer { chmod(folder.path, 0o700) }
    let path = folder.file("a")
    let error = fileError { () throws(FileError) in try AtomicFile.write([1], to: path) }
    #expect(error?.kind == .unwritable)
    #expect(error?.reason.contains("Permission denied") == true)
    #expect(fileError { () throws(FileError) in try AtomicDirectory(path) }?.kind == .unwritable)
  }

  @Test(
    "A full disk is an error that says so, and leaves no half file",
    .enabled(if: TinyDisk.isAvailable, "no permission to mount"))
  func diskFull() throws {
    let disk = try TinyDisk()
    try disk.write([1, 2, 3], to: "a")
    let path = disk.path + "/a"
    let error = fileError { () throws(FileError) in
      try AtomicFile.write([UInt8](repeating: 1, count: 1 << 20), to: path)
    }
    #expect(error?.kind == .diskFull)
    #expect(error?.path == path)
    #expect(error?.reason.contains("No space left on device") == true)
    #expect(try FileManager.default.contentsOfDirectory(atPath: disk.path) == ["a"])
    #expect(try Data(contentsOf: URL(filePath: path)) == Data([1, 2, 3]))
  }
}

/// A file system of 64 KiB in memory, for as long as it is referenced.
private final class TinyDisk {
  let folder: TemporaryFolder
  var path: String { folder.path }

  init() throws {
    folder = try TemporaryFolder()
    guard mount("tmpfs", folder.path, "tmpfs", 0, "size=65536") == 0 else { throw POSIXError(.EPERM) }
  }

  func write(_ bytes: [UInt8], to name: String) throws { try folder.write(bytes, to: name) }

  deinit { umount2(folder.path, Int32(MNT_DETACH)) }

  /// Whether this process may mount one: tried once.
  static let isAvailable: Bool = {
    do {
      _ = try TinyDisk()
      return true
    } catch {
      return false
    }
  }()
}
