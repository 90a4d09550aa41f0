import CatenaCompute
import CatenaOpenCL
import Foundation

/// The device that the tests run on: the one that `CATENA_OPENCL_DEVICE` numbers, else the best GPU, else the first that
/// can be used.
enum DeviceUnderTest {
  static let result: Result<OpenCLBackend, ComputeError> = {
    do throws(ComputeError) { return .success(try choose()) } catch { return .failure(error) }
  }()

  /// Why there is none; the suites are skipped with these words.
  static var problem: String? {
    if case .failure(let error) = result { "skipped: \(error)" } else { nil }
  }

  static var isAvailable: Bool { problem == nil }

  /// Whether it is a processor.
  static var isProcessor: Bool {
    if case .success(let backend) = result { backend.context.device.kind == .cpu } else { false }
  }

  static var backend: OpenCLBackend {
    get throws { try result.get() }
  }

  private static func choose() throws(ComputeError) -> OpenCLBackend {
    if let name = ProcessInfo.processInfo.environment["CATENA_OPENCL_DEVICE"] {
      guard let index = Int(name) else {
        throw .noDevice(reason: "CATENA_OPENCL_DEVICE is '\(name)', which is no device's number")
      }
      return try OpenCLBackend(deviceAt: index)
    }
    let usable = OpenCLDevices.all.filter { $0.problem == nil }
    guard let chosen = usable.first(where: { $0.kind == .gpu }) ?? usable.first else {
      throw .noDevice(reason: OpenCLDevices.reasonForNone ?? "none can be used")
    }
    return try OpenCLBackend(deviceAt: chosen.index)
  }
}

extension DeviceTraits {
  /// The shapes of a GPU's kernels with tiles so small that small problems have several.
  static var smallTiles: DeviceTraits {
    var traits = DeviceTraits(kind: .gpu)
    traits.tile = DeviceTraits.Tile(rows: 16, columns: 8, inner: 4, itemRows: 4, itemColumns: 4)
    return traits
  }
}
