import Foundation

/// Where tests find what is not Swift.
package enum Assets {
  /// The root of the repository, or of a copy of its files that the environment's CATENA_REPOSITORY names.
  package static let repository: URL = {
    if let named = ProcessInfo.processInfo.environment["CATENA_REPOSITORY"] { return URL(filePath: named) }
    return URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().standardizedFileURL
  }()

  /// Models and images that ship with the repository.
  package static let samples = repository.appending(path: "Tools/samples")

  /// Golden numbers.
  package static let goldens = repository.appending(path: "Tests/Goldens")

  /// Something that a test needs and this machine may lack.
  package enum Availability: Sendable {
    /// Where it is.
    case present(URL)
    /// Why the test is skipped.
    case missing(String)

    /// Whether it is there.
    package var isPresent: Bool { url != nil }

    /// Where it is.
    package var url: URL? {
      if case .present(let url) = self { url } else { nil }
    }

    /// Why a test is skipped; empty when nothing is missing.
    package var reason: String {
      if case .missing(let reason) = self { reason } else { "" }
    }
  }

  /// The folder of real models and images: the environment's CATENA_ASSETS, else `shared/assets` beside the repository.
  package static let root: Availability = {
    let named = ProcessInfo.processInfo.environment["CATENA_ASSETS"]
    let url = named.map { URL(filePath: $0) } ?? repository.appending(path: "../shared/assets").standardizedFileURL
    if FileManager.default.fileExists(atPath: url.path) { return .present(url) }
    return .missing(
      "the folder of real models and images is not there: neither CATENA_ASSETS nor ../shared/assets beside the "
        + "repository names one")
  }()

  /// A file or folder among the real models and images, as `models/tinyvgg_10c.onnx`.
  package static func asset(_ path: String) -> Availability {
    guard let root = Self.root.url else { return Self.root }
    let url = root.appending(path: path)
    if FileManager.default.fileExists(atPath: url.path) { return .present(url) }
    return .missing("the assets hold no \(path)")
  }

  /// A file or folder that ships with the repository, as `Tests/Goldens/Operators`.
  package static func repositoryFile(_ path: String) -> Availability {
    let url = repository.appending(path: path)
    if FileManager.default.fileExists(atPath: url.path) { return .present(url) }
    return .missing("the repository holds no \(path)")
  }

  /// The Python that has the peers (PyTorch, onnx, onnxruntime): the environment's CATENA_PYTHON, else the repository's
  /// virtual environment.
  package static let python: Availability = {
    let named = ProcessInfo.processInfo.environment["CATENA_PYTHON"]
    let url = named.map { URL(filePath: $0) } ?? repository.appending(path: ".venv/bin/python")
    if FileManager.default.isExecutableFile(atPath: url.path) { return .present(url) }
    return .missing("there is no Python with the peers: neither CATENA_PYTHON nor .venv/bin/python in the repository")
  }()
}
