import CatenaFormats
import Foundation
import TestSupport
import Testing

/// The files that `Tools/peers/make_image_goldens.py` made with Pillow and numpy.
enum Goldens {
  struct Manifest: Decodable {
    struct Decoded: Decodable, Sendable, CustomTestStringConvertible {
      let file: String
      let width: Int
      let height: Int
      var testDescription: String { file }
    }
    struct Resized: Decodable, Sendable, CustomTestStringConvertible {
      let file: String
      let resampling: Resampling
      let width: Int
      let height: Int
      var testDescription: String { file }
    }
    struct Preprocessed: Decodable, Sendable, CustomTestStringConvertible {
      let file: String
      let job: String
      let result: String
      let shape: [Int]
      var testDescription: String { result }
    }
    let decoded: [Decoded]
    let resized: [Resized]
    let preprocessed: [Preprocessed]
  }

  static func image(_ name: String) -> String { Assets.goldens.appending(path: "Images/\(name)").path() }
  static func tensor(_ name: String) -> String { Assets.goldens.appending(path: "TensorFiles/\(name)").path() }

  static func bytes(_ path: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(filePath: path))) }

  static let manifest: Manifest = {
    do {
      return try JSONDecoder().decode(Manifest.self, from: Data(bytes(image("manifest.json"))))
    } catch {
      preconditionFailure("the golden files cannot be read: \(error)")
    }
  }()

  /// All golden files that readers take, for tests that go over every format.
  static var everyInput: [String] {
    get throws {
      let folder = Assets.goldens.appending(path: "TensorFiles").path()
      let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
      return manifest.decoded.map { image($0.file) } + names.map(tensor)
    }
  }
}
