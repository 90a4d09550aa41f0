import Foundation
import TestSupport
import Testing

/// The script that every program of a bundle runs behind; a bundle itself has it elsewhere.
private let environment = Assets.repository.appending(path: "Tools/portable/environment").path

@Suite(
  "the environment of a bundle",
  .enabled(if: FileManager.default.fileExists(atPath: environment), "the repository's tools are not here"),
  .enabled(if: CatenaProgram.absence.isEmpty, "\(CatenaProgram.absence)"))
struct PortableTests {
  /// A driver of a newer system does not load behind an older C++ library. This machine's stands for the system's.
  @Test("the newer C++ library is the one in use", arguments: [(1, false), (9999, true)])
  func cxxLibrary(release: Int, isOurs: Bool) throws {
    let folder = try TemporaryFolder()
    for name in ["bin", "lib/gcc"] {
      try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
    }
    try folder.write(Array("\0GLIBCXX_3.4\0GLIBCXX_3.4.\(release)\0".utf8), to: "lib/gcc/libstdc++.so.6")
    try FileManager.default.createSymbolicLink(
      atPath: folder.file("bin/catena"), withDestinationPath: CatenaProgram.url.path)

    let shell = Process()
    let output = Pipe()
    (shell.executableURL, shell.standardOutput) = (URL(filePath: "/bin/sh"), output)
    shell.arguments = ["-euc", #"here=$1; . "$2"; echo "$LD_LIBRARY_PATH""#, "sh", folder.path, environment]
    shell.environment = ["PATH": "/usr/bin:/bin"]
    try shell.run()
    let path = try String(decoding: #require(try output.fileHandleForReading.readToEnd()), as: UTF8.self)
    shell.waitUntilExit()
    let own = folder.file("lib")
    #expect(shell.terminationStatus == 0)
    #expect(path.hasPrefix(isOurs ? "\(own)/gcc:\(own)" : own) && path.contains("/gcc") == isOurs, "\(path)")
  }
}
