import Foundation

/// The ONNX project's own tests, as its Python package ships them.
package enum NodeTestFolder {
  /// The folder, or why it is not there.
  package static let availability: Assets.Availability = {
    if let named = ProcessInfo.processInfo.environment["CATENA_ONNX_NODE_TESTS"] {
      let url = URL(filePath: named)
      if FileManager.default.fileExists(atPath: url.path) { return .present(url) }
      return .missing("CATENA_ONNX_NODE_TESTS names \(named), which does not exist")
    }
    let libraries = Assets.repository.appending(path: ".venv/lib")
    let entries = FileManager.default.enumerator(
      at: libraries, includingPropertiesForKeys: nil, options: .skipsSubdirectoryDescendants)
    for case let version as URL in entries ?? FileManager.DirectoryEnumerator()
    where version.lastPathComponent.hasPrefix("python3") {
      let folder = version.appending(path: "site-packages/onnx/backend/test/data/node")
      if FileManager.default.fileExists(atPath: folder.path) { return .present(folder) }
    }
    return .missing(
      "ONNX's node tests are not there: neither CATENA_ONNX_NODE_TESTS nor the package onnx==1.17.0 in .venv")
  }()
}
