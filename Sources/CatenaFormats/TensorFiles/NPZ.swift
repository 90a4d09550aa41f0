import CatenaTensors

/// Numpy's archives of arrays (`.npz`): zip files of `.npy` entries, stored or deflated.
public enum NPZ {
  /// Reads all arrays at `path`, in the order of the archive, each under its entry's name without `.npy`.
  public static func read(_ path: String) throws(FileError) -> [NamedTensor] { try decode(readFile(path), path: path) }

  /// Decodes the bytes of an archive; `path` names them in errors.
  public static func decode(_ bytes: [UInt8], path: String) throws(FileError) -> [NamedTensor] {
    var tensors: [NamedTensor] = []
    for entry in try ZipArchive(bytes, path: path).entries {
      let part = "\(path)#\(entry.name)"
      guard entry.name.hasSuffix(".npy") else {
        throw FileError(.unsupported, part, "is no .npy array; an .npz archive holds nothing else")
      }
      let name = String(entry.name.dropLast(4))
      guard !tensors.contains(where: { $0.name == name }) else {
        throw FileError(.malformed, path, "holds the array \(name) twice")
      }
      tensors.append(NamedTensor(name: name, tensor: try NPY.decode(entry.content(of: bytes, path: part), path: part)))
    }
    return tensors
  }
}
