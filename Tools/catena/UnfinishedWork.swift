import Catena
import Foundation

/// What is known of work in progress; its key says of what.
protocol WorkRecord: Codable {
  var key: String { get }
  /// Whether its parts fit each other.
  var isWhole: Bool { get }
}

extension TuningRecord: WorkRecord {
  var isWhole: Bool { true }
}
extension TrojanEvaluation.Record: WorkRecord {
  var isWhole: Bool { (columns + controls).allSatisfy(\.isWhole) }
}

/// The file beside an output that holds what is known until the output is written. The same command goes on from there.
struct UnfinishedWork {
  let path: String

  init(of output: String) { path = output + ".unfinished" }

  /// What an earlier run left behind, or `empty`; in both cases the file can be written.
  func record<Record: WorkRecord>(orEmpty empty: Record) throws -> Record {
    if let bytes = FileManager.default.contents(atPath: path) {
      do {
        let left = try JSONDecoder().decode(Record.self, from: bytes)
        if left.key == empty.key, !left.isWhole {
          Output.note("\(path) is damaged: starting again")
        } else if left.key == empty.key {
          Output.note("going on where \(path) ends")
          return left
        } else {
          Output.note("\(path) is of another network, other images or settings: starting again")
        }
      } catch {
        Output.note("\(path) cannot be read: starting again")
      }
    }
    // Whether the file can be written is found out before the work, not after it.
    try Self.probe(path)
    return empty
  }

  /// Keeps what is known.
  func keep(_ record: some WorkRecord) throws { try AtomicFile.write(Output.encoded(record), to: path) }

  /// Drops the file: the output holds everything.
  func drop() throws { try FileManager.default.removeItem(atPath: path) }

  /// Runs work that keeps what is known; when it is cancelled, says how it goes on.
  func resumable<Result>(_ line: ProgressLine, _ work: () async throws -> Result) async throws -> Result {
    do { return try await work() } catch  where isCancellation(error) {
      line.finish()
      Output.note("stopped; the same command goes on from here: \(path)")
      throw ExitStatus.stopped
    }
  }

  /// Begins a file and drops it.
  private static func probe(_ path: String) throws { _ = try AtomicFile(path) }
}

extension Output {
  /// JSON for a file.
  static func encoded(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    return Array(try encoder.encode(value)) + [UInt8(ascii: "\n")]
  }

  /// Throws when a file exists that is not to be replaced, or cannot be.
  /// - Parameter read: what the work reads, which is never replaced.
  static func refuseExisting(_ path: String, overwrite: Bool, keeping read: [String]) throws(FileError) {
    try AtomicFile.refuse(path, inPlaceOf: read)
    var isFolder: ObjCBool = false
    let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    if exists, isFolder.boolValue { throw FileError(.exists, path, "is a folder; name a file in it") }
    if exists, !overwrite {
      throw FileError(.exists, path, "the file exists; choose another name or ask to replace it (--overwrite)")
    }
  }
}
