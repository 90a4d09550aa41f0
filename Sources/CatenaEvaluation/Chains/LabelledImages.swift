import CatenaFormats
import CatenaTensors

/// A set of images of known classes, from which regions are taken and on which chains are tried. Only names and classes
/// are held; images are read when they are needed.
public struct LabelledImages: Sendable {
  /// One image.
  public struct Entry: Sendable, Hashable {
    /// Its name within the set: the number of a record, or a path relative to the folder.
    public var name: String
    /// Its class: what groups images, whether or not the network's index of it is known.
    public var group: String
    /// The index of its class in the network's output, where it is known.
    public var label: Int?
  }

  /// What may be given, for help texts.
  public static let syntax = """
    Labelled images are one of
      records.bin            CIFAR-10 binary records
      folder                 one folder of images per class, named by the class's
                             number in the network, or by its name (--labels)
      folder                 images with a table images.csv or labels.csv: a column
                             'file', and the number of the class in the first
                             column whose name begins with 'class'
    """

  /// The file or folder.
  public let path: String
  /// All images, in the order of the file or of their names.
  public let entries: [Entry]
  private let isRecords: Bool

  /// Finds the images of a file or folder.
  /// - Parameters:
  ///   - classNames: The names of the network's classes, which folders may be named by.
  ///   - labelOffset: Added to every label: 1 for networks whose class 0 is a background that the labels do not count.
  /// - Throws: `FileError` that says what was found instead.
  public init(_ path: String, classNames: [String]? = nil, labelOffset: Int = 0) throws(FileError) {
    self.path = path
    var found: [Entry]
    if case .folder = try PathKind(of: path) {
      isRecords = false
      let names = try folderEntries(path)
      if let table = ["images.csv", "labels.csv"].first(where: names.contains) {
        found = try Self.entries(ofTable: "\(path)/\(table)")
      } else {
        found = try Self.entries(ofFolders: names, in: path, classNames: classNames)
      }
    } else {
      isRecords = true
      let file = try CIFAR10File(path)
      found = (0..<file.count).map { Entry(name: "\($0)", group: "\(file[$0].label)", label: file[$0].label) }
    }
    for index in found.indices { found[index].label = found[index].label.map { $0 + labelOffset } }
    entries = found
  }

  /// Reads and preprocesses some of the images.
  /// - Returns: the samples, N first, and their names.
  public func samples(
    _ indices: [Int], _ preprocessing: Preprocessing, inputShape: Shape?
  ) throws(FileError) -> (tensor: Tensor, names: [String]) {
    var found: [Sample] = []
    if isRecords {
      let file = try CIFAR10File(path)
      found = indices.map { Sample(name: "\(path)#\($0)", label: file[$0].label, content: .image(file[$0].image)) }
    } else {
      let files = indices.map { "\(path)/\(entries[$0].name)" }
      found = try SampleSource.samples(files, inputShape: inputShape)
    }
    return (try preprocessing.tensor(of: found), found.map(\.name))
  }

  /// The positions, among `entries`, of a region's samples.
  public func indices(of region: NamedRegion, title: String) throws(FileError) -> [Int] {
    if let indices = region.indices {
      for index in indices where !entries.indices.contains(index) {
        throw FileError(.badArgument, path, "\(title) has the sample \(index), but there are \(entries.count), from 0")
      }
      return indices
    }
    let positions = Dictionary(entries.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    var indices: [Int] = []
    for file in region.files ?? [] {
      guard let position = positions[file] else {
        throw FileError(.badArgument, path, "\(title) has the sample '\(file)', which is not among its images")
      }
      indices.append(position)
    }
    return indices
  }

  /// The position of the image that a chain's manifest calls `name`.
  func position(ofSampleNamed name: String) -> Int? {
    let records = isRecords ? path.split(separator: "/").last.map(String.init) : nil
    return entries.indices.first { index in
      let own = entries[index].name
      guard let records else { return name == own || name.hasSuffix("/" + own) }
      return name == "\(records)#\(own)" || name.hasSuffix("/\(records)#\(own)")
    }
  }
}

// MARK: - Finding

extension LabelledImages {
  private static func entries(
    ofFolders names: [String], in path: String, classNames: [String]?
  ) throws(FileError) -> [Entry] {
    var entries: [Entry] = []
    for name in names {
      guard case .folder = try PathKind(of: "\(path)/\(name)") else { continue }
      let images = try folderEntries("\(path)/\(name)").filter(isImage)
      let label = Int(name) ?? classNames?.firstIndex(of: name)
      entries += images.map { Entry(name: "\(name)/\($0)", group: name, label: label) }
    }
    guard !entries.isEmpty else {
      throw FileError(
        .unsuitable, path,
        "has neither a table images.csv or labels.csv nor a folder of images (.png .jpg .jpeg) per class")
    }
    return entries
  }

  private static func isImage(_ name: String) -> Bool {
    [".png", ".jpg", ".jpeg"].contains { name.lowercased().hasSuffix($0) }
  }

  private static func entries(ofTable path: String) throws(FileError) -> [Entry] {
    guard let text = String(validating: try readFile(path), as: UTF8.self) else {
      throw FileError(.malformed, path, "is not UTF-8 text")
    }
    let rows = commaSeparatedRows(text)
    guard let heading = rows.first, let file = heading.firstIndex(of: "file"),
      let label = heading.firstIndex(where: { $0.hasPrefix("class") })
    else {
      throw FileError(.malformed, path, "needs a heading with the columns 'file' and 'class...'")
    }
    var entries: [Entry] = []
    for (number, row) in rows.enumerated().dropFirst() {
      guard row.count == heading.count, let index = Int(row[label]), index >= 0 else {
        throw FileError(
          .malformed, path,
          "line \(number + 1) needs \(heading.count) fields and the number of a class under '\(heading[label])'")
      }
      guard !row[file].hasPrefix("/"), !row[file].split(separator: "/").contains("..") else {
        throw FileError(.malformed, path, "line \(number + 1): '\(row[file])' leaves the table's folder")
      }
      entries.append(Entry(name: row[file], group: row[label], label: index))
    }
    guard !entries.isEmpty else { throw FileError(.unsuitable, path, "lists no image") }
    return entries
  }
}

/// The rows of a CSV text (RFC 4180): fields may be quoted, and hold commas, quotes and line ends then. Empty lines are
/// left out.
func commaSeparatedRows(_ text: String) -> [[String]] {
  var rows: [[String]] = []
  var row: [String] = []
  var field = ""
  var isQuoted = false
  func endRow() {
    row.append(field)
    if row != [""] { rows.append(row) }
    (row, field) = ([], "")
  }
  var characters = text.makeIterator()
  var pending = characters.next()
  while let character = pending {
    pending = characters.next()
    switch character {
    case "\"" where !isQuoted && field.isEmpty: isQuoted = true
    case "\"" where isQuoted && pending == "\"":
      field.append(character)
      pending = characters.next()
    case "\"" where isQuoted: isQuoted = false
    case "," where !isQuoted:
      row.append(field)
      field = ""
    case _ where character.isNewline && !isQuoted: endRow()
    default: field.append(character)
    }
  }
  endRow()
  return rows
}
