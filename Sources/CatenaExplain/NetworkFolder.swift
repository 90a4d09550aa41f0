import CatenaFormats
import Glibc

/// What a command line argument names as a network: an ONNX file, or the folder of a chain or of a trace.
public enum NetworkFolder {
  /// The names under which the folders keep their network.
  public static let networkFiles = ["trace.onnx", "chain.onnx"]

  /// The ONNX file behind `argument`.
  /// - Throws: `FileError` when the folder holds no network.
  public static func modelPath(_ argument: String) throws(FileError) -> String {
    var status = stat()
    guard stat(argument, &status) == 0 else {
      throw FileError(.missing, argument, "there is no such file or folder")
    }
    guard status.st_mode & S_IFMT == S_IFDIR else { return argument }
    for name in networkFiles where access("\(argument)/\(name)", R_OK) == 0 { return "\(argument)/\(name)" }
    throw FileError(
      .unsuitable, argument,
      "this folder holds no network: a chain's has chain.onnx, a trace's has trace.onnx, each complete or absent")
  }
}
