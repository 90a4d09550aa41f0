import Foundation

/// Tuned parameters on disk, beside the built programs: one file per device and driver, family and text of its kernels.
package struct TuningStore: Sendable {
  /// What is kept of one family.
  package struct Entry: Sendable, Hashable, Codable {
    /// What the file is, for who looks into it.
    package var format = "catena-tuning"
    /// The form's version; another major version is not read.
    package var formatVersion = "1.0"
    /// The device and its driver.
    package var device: [String]
    /// The family of kernels.
    package var family: String
    /// The shapes that were found to be the fastest.
    package var traits: DeviceTraits
    /// How many times faster they were than the device's own.
    package var speedup: Double

    /// An entry.
    package init(device: OpenCLDevice, family: KernelFamily, traits: DeviceTraits, speedup: Double) {
      self.device = device.identity
      self.family = family.rawValue
      self.traits = traits
      self.speedup = speedup
    }
  }

  private let store: ProgramStore?

  /// The entries in the folder of `store`; none without one.
  package init(_ store: ProgramStore?) { self.store = store }

  /// The entries beside the built programs.
  package init(cache: ProgramCacheLocation) {
    store = cache.folder(environment: ProcessInfo.processInfo.environment).map { ProgramStore(folder: $0) }
  }

  /// Whether there is a folder to keep anything in.
  package var isAvailable: Bool { store != nil }
  /// Whether that folder can be written.
  package var isWritable: Bool { store?.isWritable ?? false }

  /// The traits of the device with those that were tuned for it, and a line for everything that could not be used.
  package func traits(of device: OpenCLDevice) -> (KernelTraits, remarks: [String]) {
    var traits = KernelTraits(device)
    var remarks: [String] = []
    guard let store else { return (traits, remarks) }
    for family in KernelFamily.tunable {
      switch store.find(Self.key(family, device)) {
      case .absent: continue
      case .damaged: remarks.append(Self.remark(family, device, "the file was damaged"))
      case .payload(let bytes):
        do throws(Unusable) {
          traits.tuned[family] = try Self.entry(bytes, family, device).traits
        } catch { remarks.append(Self.remark(family, device, error.reason)) }
      }
    }
    return (traits, remarks)
  }

  /// Keeps an entry, in place of the one that there may be.
  /// - Returns: Whether it is kept.
  package func save(_ entry: Entry, _ family: KernelFamily, _ device: OpenCLDevice) -> Bool {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted]
    do {
      return store?.save(Array(try encoder.encode(entry)), Self.key(family, device)) ?? false
    } catch { return false }
  }

  /// Forgets what is kept of a family.
  package func remove(_ family: KernelFamily, _ device: OpenCLDevice) { store?.remove(Self.key(family, device)) }

  /// The name of a family's file: other kernels, another driver or other defaults have another one.
  package static func key(_ family: KernelFamily, _ device: OpenCLDevice) -> ProgramStore.Key {
    ProgramStore.Key(
      device: device.identity, options: DeviceTraits(device).buildOptions + " " + family.rawValue,
      source: family.source, kind: .tuning)
  }

  private struct Unusable: Error {
    var reason: String
  }

  /// The entry in `bytes`, checked: a file may be whole and come from a newer version.
  private static func entry(
    _ bytes: [UInt8], _ family: KernelFamily, _ device: OpenCLDevice
  ) throws(Unusable) -> Entry {
    let entry: Entry
    do { entry = try JSONDecoder().decode(Entry.self, from: Data(bytes)) } catch {
      throw Unusable(reason: "the file is of another form")
    }
    guard entry.format == "catena-tuning", entry.formatVersion.hasPrefix("1."), entry.family == family.rawValue,
      entry.device == device.identity
    else { throw Unusable(reason: "the file is of another form, device or family") }
    if let problem = entry.traits.problem(on: device) { throw Unusable(reason: problem) }
    return entry
  }

  private static func remark(_ family: KernelFamily, _ device: OpenCLDevice, _ reason: String) -> String {
    "\(device.name): the tuned parameters of '\(family.rawValue)' are not used (\(reason)); 'catena tune' makes them anew"
  }
}
