import CatenaFormats
import Testing

@Suite("CIFAR-10 records")
struct CIFAR10Tests {
  @Test("Planes become interleaved pixels")
  func record() throws {
    let planes = (0..<3072).map { UInt8(truncatingIfNeeded: $0 * 31 + $0 / 1024) }
    let file = try CIFAR10File([UInt8](repeating: 4, count: 3073) + [7] + planes, path: "x.bin")
    #expect(file.count == 2)
    #expect(file[0].label == 4)
    #expect(file[1].label == 7)
    let image = file[1].image
    #expect(image.width == 32 && image.height == 32)
    for pixel in [0, 1, 31, 32, 1023] {
      #expect(
        Array(image.pixels[3 * pixel..<3 * pixel + 3]) == [planes[pixel], planes[1024 + pixel], planes[2048 + pixel]])
    }
  }

  @Test("Wrong sizes and labels are errors")
  func wrong() {
    #expect(fileError { () throws(FileError) in try CIFAR10File([], path: "x") }?.kind == .truncated)
    let cut = [UInt8](repeating: 0, count: 3072)
    #expect(fileError { () throws(FileError) in try CIFAR10File(cut, path: "x") }?.kind == .malformed)
    let label = [UInt8](repeating: 10, count: 3073)
    #expect(fileError { () throws(FileError) in try CIFAR10File(label, path: "x") }?.kind == .malformed)
  }
}
