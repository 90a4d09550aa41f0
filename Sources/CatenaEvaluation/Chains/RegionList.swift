import CatenaFormats
import Foundation

/// A region as a regions file names it: samples of a set of labelled images.
///
/// The file is a JSON object; every member but `what`, a remark, is a list of regions, under its name. A region has
/// its samples as `indices` (from 0, into records) or as `files` (relative to the folder of images), and may say its
/// `classes`, a `name` and the `seed` that drew it. `Tools/schemas/regions.schema.json` is its schema.
public struct NamedRegion: Sendable, Hashable, Codable {
  /// Its name, where it has one.
  public var name: String?
  /// The seed with which it was drawn.
  public var seed: Int?
  /// The classes of its samples, as the images' labels number them.
  public var classes: [Int]?
  /// Its samples as records.
  public var indices: [Int]?
  /// Its samples as files.
  public var files: [String]?

  /// A name for tables: its own, that of its seed, or its position.
  public func title(at position: Int) -> String { name ?? seed.map { "seed \($0)" } ?? "region \(position)" }
}

extension NamedRegion {
  /// The regions of a list in a file.
  /// - Parameter list: The list's name; may be left out where the file has only one.
  /// - Throws: `FileError` that says what is wrong, and which lists there are.
  public static func read(_ path: String, list: String?) throws(FileError) -> [NamedRegion] {
    let bytes = try readFile(path)
    let lists: [String: [NamedRegion]]
    do { lists = try JSONDecoder().decode(Lists.self, from: Data(bytes)).lists } catch {
      throw FileError(.malformed, path, "is no file of regions: \(Self.reason(of: error))")
    }
    let names = lists.keys.sorted().joined(separator: ", ")
    guard !lists.isEmpty else { throw FileError(.unsuitable, path, "has no list of regions in it") }
    if list == nil, lists.count > 1 {
      throw FileError(.badArgument, path, "has several lists of regions; choose one with --list: \(names)")
    }
    guard let regions = list.map({ lists[$0] }) ?? lists.first?.value else {
      throw FileError(.badArgument, path, "has no list '\(list ?? "")'; it has \(names)")
    }
    for (position, region) in regions.enumerated() {
      let samples = (region.indices?.count ?? 0) + (region.files?.count ?? 0)
      guard samples > 0, region.indices == nil || region.files == nil else {
        throw FileError(
          .malformed, path,
          "\(region.title(at: position)) needs either 'indices' or 'files', with at least one sample")
      }
      guard Set(region.indices ?? []).count + Set(region.files ?? []).count == samples else {
        throw FileError(.malformed, path, "\(region.title(at: position)) names a sample twice")
      }
      guard (region.classes ?? []).allSatisfy({ $0 >= 0 }), (region.indices ?? []).allSatisfy({ $0 >= 0 }) else {
        throw FileError(.malformed, path, "\(region.title(at: position)): classes and indices count from 0")
      }
    }
    guard !regions.isEmpty else { throw FileError(.unsuitable, path, "the list is empty") }
    return regions
  }

  private static func reason(of error: any Error) -> String {
    guard let error = error as? DecodingError else { return "\(error)" }
    switch error {
    case .dataCorrupted(let context), .keyNotFound(_, let context), .typeMismatch(_, let context),
      .valueNotFound(_, let context):
      let place = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }.joined(separator: "/")
      return place.isEmpty ? context.debugDescription : "\(place): \(context.debugDescription)"
    @unknown default: return "\(error)"
    }
  }
}

/// The lists of a regions file; the member `what` says what people should know.
private struct Lists: Decodable {
  var lists: [String: [NamedRegion]] = [:]

  private struct Key: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    for key in container.allKeys where key.stringValue != "what" {
      lists[key.stringValue] = try container.decode([NamedRegion].self, forKey: key)
    }
  }
}
