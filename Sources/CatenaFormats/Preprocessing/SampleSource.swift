import CatenaTensors

/// Finds the samples that command line arguments name.
public enum SampleSource {
  /// What an argument may be, for the help text: the one place that says so.
  public static let syntax = """
    An input is one of
      photo.png, photo.jpg   a PNG or JPEG image
      folder                 the images (.png .jpg .jpeg) directly in a folder, in
                             the order of their names
      records.bin            CIFAR-10 binary records
      array.npy              one array: pictures if it is uint8 ([H,W], [H,W,3] or
                             [N,H,W,3]), else inputs that need no preprocessing
                             (one sample, or a batch along the first axis)
      arrays.npz, x.safetensors
                             all arrays in the file, each as above
    records.bin#LIST and array.npy#LIST select samples: numbers from 0 and ranges,
    as in #12,17,40-49. arrays.npz#NAME and x.safetensors#NAME select one array.
    """

  /// The samples that `arguments` name, in their order; `syntax` says what an argument may be.
  ///
  /// - Parameters:
  ///   - arguments: files and folders, with their selections.
  ///   - inputShape: the shape of one sample of the network's input, without the batch axis, if it is known: ready
  ///     tensors must have it. Without it they must be [C,H,W] or [N,C,H,W].
  /// - Returns: at least one sample.
  public static func samples(_ arguments: [String], inputShape: Shape? = nil) throws(FileError) -> [Sample] {
    guard !arguments.isEmpty else { throw FileError(.badArgument, "inputs", "no file or folder is given") }
    var samples: [Sample] = []
    for argument in arguments {
      let found = try self.samples(of: argument, inputShape)
      guard !found.isEmpty else { throw FileError(.unsuitable, argument, "holds no sample") }
      samples += found
    }
    return samples
  }

  private static func samples(of argument: String, _ inputShape: Shape?) throws(FileError) -> [Sample] {
    let (path, selection) = try split(argument)
    if case .folder = try PathKind(of: path) {
      guard selection == nil else {
        throw FileError(.badArgument, argument, "a selection (#) works on files of records or arrays, not on folders")
      }
      return try images(inFolder: path)
    }
    let bytes = try readFile(path)
    let kind = FileKind(of: bytes, path: path)
    switch kind {
    case .png, .jpeg:
      guard selection == nil else {
        throw FileError(.badArgument, argument, "a selection (#) works on files of records or arrays, not on images")
      }
      return [Sample(name: path, content: .image(try Image.decode(bytes, path: path)))]
    case .cifar:
      let file = try CIFAR10File(bytes, path: path)
      return try indices(selection, below: file.count, argument).map { index in
        let record = file[index]
        return Sample(name: "\(path)#\(index)", label: record.label, content: .image(record.image))
      }
    case .npy:
      let samples = try tensorSamples(NPY.decode(bytes, path: path), name: path, inputShape)
      return try indices(selection, below: samples.count, argument).map { samples[$0] }
    case .npz: return try select(NPZ.decode(bytes, path: path), selection, path, inputShape)
    case .safetensors: return try select(Safetensors.decode(bytes, path: path).tensors, selection, path, inputShape)
    case .other:
      throw FileError(
        .unsuitable, path,
        "this is \(kind.description); images (PNG, JPEG), CIFAR-10 records (.bin), .npy, .npz and .safetensors are read"
      )
    }
  }

  /// The path and the selection behind its last `#`; a file whose name has a `#` is taken by its whole name.
  private static func split(_ argument: String) throws(FileError) -> (path: String, selection: String?) {
    guard let mark = argument.lastIndex(of: "#") else { return (argument, nil) }
    // With a long list the whole is longer than any name can be, which is an error to ask for.
    let isName = argument.utf8.split(separator: UInt8(ascii: "/")).allSatisfy { $0.count <= 255 }
    if isName, try existing(argument) != nil { return (argument, nil) }
    return (String(argument[..<mark]), String(argument[argument.index(after: mark)...]))
  }

  // MARK: - Folders

  private static func images(inFolder path: String) throws(FileError) -> [Sample] {
    let names = try folderEntries(path)
    let images = names.filter { name in
      [".png", ".jpg", ".jpeg"].contains { name.lowercased().hasSuffix($0) }
    }
    guard !images.isEmpty else {
      let found =
        names.isEmpty
        ? "it is empty" : "it holds \(names.count) other entries, such as \(names[0]); subfolders are not searched"
      throw FileError(.unsuitable, path, "this folder has no image (.png .jpg .jpeg) in it: \(found)")
    }
    var samples: [Sample] = []
    for name in images {
      let file = path.hasSuffix("/") ? path + name : "\(path)/\(name)"
      samples.append(Sample(name: file, content: .image(try Image.read(file))))
    }
    return samples
  }

  // MARK: - Selections

  /// The numbers that a list such as `12,17,40-49` names, in its order, or all without a list.
  private static func indices(_ list: String?, below count: Int, _ argument: String) throws(FileError) -> [Int] {
    guard let list else { return Array(0..<count) }
    var indices: [Int] = []
    for item in list.split(separator: ",", omittingEmptySubsequences: false) {
      let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { natural($0) }
      guard ends.count <= 2, let first = ends.first ?? nil, let last = ends.last ?? nil, first <= last else {
        throw FileError(
          .badArgument, argument,
          "\"\(item)\" selects nothing; write numbers from 0 and ranges, as in #12,17,40-49")
      }
      guard last < count else {
        throw FileError(.badArgument, argument, "there is no sample \(last); the file has \(count), counted from 0")
      }
      indices += first...last
    }
    return indices
  }

  private static func natural(_ text: Substring) -> Int? {
    text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int(text) : nil
  }

  private static func select(
    _ tensors: [NamedTensor], _ selection: String?, _ path: String, _ inputShape: Shape?
  ) throws(FileError) -> [Sample] {
    let chosen = tensors.filter { selection == nil || $0.name == selection }
    if let selection, chosen.isEmpty {
      let names = tensors.map(\.name).joined(separator: ", ")
      throw FileError(.badArgument, "\(path)#\(selection)", "there is no such array; the file has \(names)")
    }
    var samples: [Sample] = []
    for named in chosen { samples += try tensorSamples(named.tensor, name: "\(path)#\(named.name)", inputShape) }
    return samples
  }

  // MARK: - Arrays

  /// The samples in one array: pictures of bytes, or inputs that are ready.
  private static func tensorSamples(
    _ tensor: Tensor, name: String, _ inputShape: Shape?
  ) throws(FileError) -> [Sample] {
    let shape = tensor.shape
    func unsuitable(_ need: String) -> FileError {
      FileError(.unsuitable, name, "is an array of \(tensor.elementType) of the shape \(shape); \(need)")
    }
    guard tensor.elementCount > 0 else { throw unsuitable("an array without elements holds no sample") }
    if tensor.elementType == .uint8 {
      guard shape.rank == 2 || shape.rank == 3 || shape.rank == 4, shape.rank == 2 || shape[-1] == 3 else {
        throw unsuitable("pictures of bytes are [H,W], [H,W,3] or [N,H,W,3]")
      }
      return try pictures(tensor, name: name)
    }
    guard tensor.elementType.isFloatingPoint else {
      throw unsuitable("inputs are floating-point numbers, pictures are uint8")
    }
    let isSingle = inputShape.map { shape == $0 } ?? (shape.rank == 3)
    let isBatch = inputShape.map { Array(shape.dimensions.dropFirst()) == $0.dimensions } ?? (shape.rank == 4)
    guard isSingle || (isBatch && shape.rank > 0) else {
      throw unsuitable(
        inputShape.map { "the network takes \($0), or a batch of that along a first axis" }
          ?? "inputs are [C,H,W] or [N,C,H,W]")
    }
    let values = tensor.elementType == .float32 ? tensor : Tensor(tensor.floats, shape: shape)
    let odd = values.withElements(of: Float.self) { elements in
      elements.firstIndex { !$0.isFinite }.map { (place: $0, value: elements[$0]) }
    }
    if let odd { throw unsuitable("element \(odd.place) is \(odd.value): inputs are finite numbers") }
    if isSingle { return [Sample(name: name, content: .tensor(values))] }
    let sampleShape = Shape(Array(shape.dimensions.dropFirst()))
    return slices(values, sampleShape).enumerated().map { index, slice in
      Sample(name: sampleName(name, index), content: .tensor(slice))
    }
  }

  private static func pictures(_ tensor: Tensor, name: String) throws(FileError) -> [Sample] {
    let shape = tensor.shape
    let rows = shape.rank == 4 ? 1 : 0
    let (height, width) = (shape[rows], shape[rows + 1])
    try Image.checkSize(width: width, height: height, path: name)
    let count = shape.rank == 4 ? shape[0] : 1
    let sampleShape = Shape(Array(shape.dimensions[rows...]))
    return slices(tensor.reshaped(to: Shape([count] + sampleShape.dimensions)), sampleShape).enumerated()
      .map { index, slice in
        let levels = slice.elements(of: UInt8.self)
        let pixels = shape.rank == 2 ? levels.flatMap { [$0, $0, $0] } : levels
        let image = Image(width: width, height: height, pixels: pixels)
        return Sample(
          name: shape.rank == 4 ? sampleName(name, index) : name, content: .image(image))
      }
  }

  private static func sampleName(_ name: String, _ index: Int) -> String {
    name.contains("#") ? "\(name)[\(index)]" : "\(name)#\(index)"
  }

  /// The tensors of `shape` that stand one after the other in `batch`.
  private static func slices(_ batch: Tensor, _ shape: Shape) -> [Tensor] {
    (0..<batch.shape[0]).map { index in
      Tensor(elementType: batch.elementType, shape: shape) { target in
        batch.withUnsafeBytes { bytes in
          target.copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[index * target.count..<(index + 1) * target.count]))
        }
      }
    }
  }
}
