import CatenaFormats
import CatenaTensors
import Testing

@Suite("Tensor files")
struct TensorFileTests {
  static let types: [(String, ElementType)] = [
    ("b1", .bool), ("u1", .uint8), ("i1", .int8), ("u2", .uint16), ("i2", .int16), ("u4", .uint32), ("i4", .int32),
    ("u8", .uint64), ("i8", .int64), ("f2", .float16), ("f4", .float32), ("f8", .float64),
  ]

  @Test("Numpy's arrays of every type", arguments: types)
  func npyTypes(code: String, type: ElementType) throws {
    let tensor = try NPY.read(Goldens.tensor("c_\(code).npy"))
    #expect(tensor.elementType == type)
    #expect(tensor.shape == [2, 3, 4])
    let expected = (0..<24).map { type == .bool ? $0 % 2 : code.hasPrefix("u") ? $0 : $0 - 3 }
    #expect(tensor.doubles == expected.map(Double.init))
  }

  @Test(
    "Other byte orders, axis orders and versions have the same values",
    arguments: ["big_i2", "big_f4", "big_f8", "fortran_f4", "fortran_big_f8", "version2"])
  func npyOrders(name: String) throws {
    let tensor = try NPY.read(Goldens.tensor("\(name).npy"))
    #expect(tensor.shape == [2, 3, 4])
    #expect(tensor.doubles == (0..<24).map { Double($0) - 3 })
  }

  @Test("A scalar and an array without elements")
  func npyEdges() throws {
    let scalar = try NPY.read(Goldens.tensor("scalar.npy"))
    #expect(scalar.shape == .scalar)
    #expect(scalar.floats == [2.5])
    #expect(try NPY.read(Goldens.tensor("empty.npy")).shape == [3, 0, 2])
  }

  @Test(
    "A wrong header is an error",
    arguments: [
      (
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000, 4000000000), }",
        FileError.Kind.tooLarge
      ),
      ("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 9223372036854775807, 9223372036854775807), }", .tooLarge),
      ("{'descr': '<f4', 'fortran_order': False, 'shape': (1000,), }", .truncated),
      ("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", .malformed),
      ("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", .malformed),
      ("{'descr': '<f4', 'fortran_order': False, 'fortran_order': True, 'shape': (2,), }", .malformed),
      ("{'descr': '<f4', 'fortran_order': False}", .malformed),
      ("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", .unsupported),
      ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", .unsupported),
      ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", .unsupported),
      ("{'descr': '<f4", .malformed),
      ("{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", .malformed),
      ("{'descr': '|b1', 'fortran_order': False, 'shape': (8,), }", .malformed),
    ])
  func npyErrors(header: String, kind: FileError.Kind) {
    let bytes = Array("\u{1}NUMPY\u{1}\0".utf8.dropFirst()) + [UInt8(header.utf8.count), 0] + Array(header.utf8)
    let file = [0x93] + bytes + [UInt8](repeating: 7, count: 8)
    let error = fileError { () throws(FileError) in try NPY.decode(file, path: "x.npy") }
    #expect(error?.kind == kind, "\(String(describing: error))")
    #expect(error?.path == "x.npy")
  }

  @Test("Archives of arrays, stored and deflated", arguments: ["stored", "deflated"])
  func npz(name: String) throws {
    let arrays = try NPZ.read(Goldens.tensor("\(name).npz"))
    #expect(arrays.map(\.name) == ["first", "second"])
    #expect(arrays[0].tensor.doubles == (0..<24).map { Double($0) - 3 })
    #expect(arrays[1].tensor.integers == [0, 1, 2, 3, 4])
  }

  @Test("A wrong checksum in an archive is an error", arguments: ["stored", "deflated"])
  func npzChecksum(name: String) throws {
    var bytes = try Goldens.bytes(Goldens.tensor("\(name).npz"))
    let directory = try #require(
      bytes.indices.dropLast(4).first { bytes[$0..<$0 + 4].elementsEqual("PK\u{1}\u{2}".utf8) })
    bytes[directory + 16] ^= 1
    #expect(fileError { () throws(FileError) in try NPZ.decode(bytes, path: "x") }?.kind == .malformed)
  }

  @Test("Every proper prefix of a tensor file is an error", arguments: ["c_f4.npy", "stored.npz", "deflated.npz"])
  func truncated(name: String) throws {
    let bytes = try Goldens.bytes(Goldens.tensor(name))
    for count in 0..<bytes.count {
      let prefix = Array(bytes[..<count])
      let error = fileError { () throws(FileError) in
        if name.hasSuffix("y") { _ = try NPY.decode(prefix, path: "x") } else { _ = try NPZ.decode(prefix, path: "x") }
      }
      #expect(error != nil, "\(count) bytes of \(bytes.count)")
    }
  }
}
