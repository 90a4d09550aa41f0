import CatenaCompute
import CatenaFormats
import CatenaTensors
import Foundation

extension TraceWriter {
  /// What the folder at `path` says of itself when it holds, undamaged, the trace of `sample` that this writer would write
  /// there; `nil` when nothing is there, or an empty folder. So work on many pictures goes on where it was stopped.
  /// - Parameter onAnyDevice: Whether a trace that another back end made will do.
  /// - Throws: `FileError.Kind.exists` for anything else: a trace of something else or made in another way, with what
  ///   differs; a damaged trace; other files.
  public func finished(_ sample: TraceSample, at path: String, onAnyDevice: Bool = false) throws -> TraceManifest? {
    let manager = FileManager.default
    var isFolder: ObjCBool = false
    guard manager.fileExists(atPath: path, isDirectory: &isFolder) else { return nil }
    guard isFolder.boolValue, TraceFolder.exists(at: path) else {
      if isFolder.boolValue, try manager.contentsOfDirectory(atPath: path).isEmpty { return nil }
      throw Self.occupied(path, "it holds no trace")
    }
    let manifest: TraceManifest
    do {
      try TraceFolder.checkSums(at: path)
      manifest = try TraceManifest.decoded(from: readFile("\(path)/\(TraceFile.manifest)"), path: path)
    } catch { throw Self.occupied(path, "it holds a damaged trace: \(error)") }
    let difference = differences(from: manifest, sample, onAnyDevice: onAnyDevice).first
    if let difference { throw Self.occupied(path, "it holds another trace: \(difference)") }
    return manifest
  }

  private static func occupied(_ path: String, _ reason: String) -> FileError {
    FileError(
      .exists, path, "\(reason); repeat what it was made with, choose another folder or ask to replace it (--overwrite)"
    )
  }

  /// What of a trace differs from what this writer would write for `sample`, in words.
  private func differences(from found: TraceManifest, _ sample: TraceSample, onAnyDevice: Bool) -> [String] {
    let origin = origin
    let extractor = extractor
    var result: [String] = []
    func compare<Value: Equatable>(_ what: String, _ there: Value, _ here: Value) {
      if there != here { result.append("\(what): \(there) there, \(here) here") }
    }
    compare("the picture", found.sample, sample.name)
    if found.pixels != sample.pixelDigest { result.append("the picture '\(sample.name)' has other pixels now") }
    compare("the network's SHA-256", found.model.sha256, extractor.network.model.sha256 ?? "")
    compare("the network's file", found.model.file, origin.modelFile)
    compare("the preprocessing", found.preprocessing, origin.preprocessing)
    let (old, new) = (found.settings, extractor.settings)
    compare("the solver", old.solver.rawValue, new.solver.rawValue)
    compare("the blocks", old.blocks.rawValue, new.blocks.rawValue)
    compare("as the published code counts", old.isCompatible, new.isCompatible)
    compare("the augmentations", old.augmentations, new.augmentations)
    compare("the seed", old.seed, new.seed)
    compare("the batch", old.batch, new.batch)
    compare("the checked augmentations", old.checkedAugmentations, new.checkedAugmentations)
    if old.augmentation != new.augmentation { result.append("pictures are augmented otherwise") }
    for (layer, ratio) in zip(extractor.network.layers, extractor.ratios) {
      let ratios = found.layers.filter { $0.name == layer.name }.map(\.ratio)
      if ratios != [ratio] {
        result.append("the ratio of '\(layer.name)': \(ratios.first.map { "\($0)" } ?? "none") there, \(ratio) here")
      }
    }
    compare("the precision", found.precision.rawValue, extractor.options.precision.rawValue)
    compare("the limit of memory", found.memoryLimit ?? 0, extractor.options.memoryLimit ?? 0)
    if !(onAnyDevice && found.device.backend != origin.device.backend), found.device != origin.device {
      let (there, here) = (found.device, origin.device)
      compare("the device", "\(there.backend), \(there.name)", "\(here.backend), \(here.name)")
      compare("the threads", there.threads, here.threads)
      if there.backend == here.backend, there.name == here.name, there.threads == here.threads {
        result.append("the device's driver, instruction set or memory differ")
      }
    }
    compare("the version of Catena", found.catenaVersion, origin.version)
    return result
  }
}

extension TraceFolder {
  /// Checks the files of the folder at `path` against its sums.
  /// - Throws: `FileError` for what cannot be read; `TraceError.malformed` for a file that is not the one that was written.
  static func checkSums(at path: String) throws {
    let sums = String(decoding: try readFile("\(path)/\(TraceFile.sums)"), as: UTF8.self)
    let lines = Set(sums.split(separator: "\n").map(String.init))
    for file in TraceFile.summed
    where !lines.contains(TraceFile.sumLine(file, of: try readFile("\(path)/\(file)"))) {
      throw TraceError.malformed(path: "\(path)/\(file)", reason: "it has changed since the trace was written")
    }
  }
}

extension TraceFile {
  /// The line of `sums` for a file of these bytes.
  static func sumLine(_ file: String, of bytes: [UInt8]) -> String { "\(SHA256.hexDigest(of: bytes))  \(file)" }
}

extension TraceSample {
  /// SHA-256 of the picture's pixels.
  var pixelDigest: String { SHA256.hexDigest(of: image.pixels) }
}
