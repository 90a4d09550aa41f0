import CatenaChains
import CatenaEvaluation
import CatenaFormats
import Foundation
import TestSupport
import Testing

@Suite("regions and labelled images")
struct RegionTests {
  private static let records = Assets.samples.appending(path: "images/cifar10_demo.bin").path

  private func read(_ json: String, list: String? = nil) throws -> [NamedRegion] {
    let folder = try TemporaryFolder()
    return try NamedRegion.read(folder.write(Array(json.utf8), to: "regions.json"), list: list)
  }

  @Test("a file's list is read")
  func list() throws {
    let json =
      #"{"what": "x", "a": [{"seed": 3, "classes": [1, 2], "indices": [4, 5]}], "b": [{"files": ["c/d.png"]}]}"#
    let regions = try read(json, list: "a")
    #expect(regions.count == 1 && regions[0].indices == [4, 5] && regions[0].title(at: 0) == "seed 3")
    #expect(try read(json, list: "b")[0].files == ["c/d.png"])
  }

  @Test(
    "what is wrong with a file is said",
    arguments: [
      (#"{"a": [{"indices": [1]}], "b": [{"indices": [1]}]}"#, nil, "several lists"),
      (#"{"a": [{"indices": [1]}]}"#, "z", "no list 'z'; it has a"),
      (#"{"a": [{"classes": [1]}]}"#, nil, "needs either 'indices' or 'files'"),
      (#"{"a": [{"indices": [1, 2, 1]}]}"#, nil, "region 0 names a sample twice"),
      (#"{"a": [{"indices": [-1]}]}"#, nil, "count from 0"),
      (#"{"a": [{"indices": [1], "classes": [-1]}]}"#, nil, "count from 0"),
      (#"{"a": [{"indices": ["x"]}]}"#, nil, "a/[0]"), (#"[1, 2]"#, nil, "no file of regions"),
      (#"{"what": "nothing"}"#, nil, "no list"),
    ] as [(String, String?, String)])
  func mistakes(json: String, list: String?, says: String) {
    #expect {
      _ = try read(json, list: list)
    } throws: {
      "\($0)".contains(says)
    }
  }

  @Test("folders of classes, tables and records are labelled images")
  func images() throws {
    let folder = try TemporaryFolder()
    let picture = try Data(contentsOf: Assets.samples.appending(path: "images/imagenet").pictures()[0])
    for name in ["3/a.png", "cat/b.png", "dog/c.png"] {
      let url = URL(filePath: folder.file("set/\(name)"))
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try picture.write(to: url)
    }
    let set = try LabelledImages(folder.file("set"), classNames: ["dog", "cat"])
    #expect(set.entries.map(\.name) == ["3/a.png", "cat/b.png", "dog/c.png"])
    #expect(set.entries.map(\.label) == [3, 1, 0])
    _ = try Data("file,class_index0,class_name\r\n3/a.png,7,\"a, \"\"b\"\"\"\r\n".utf8)
      .write(to: URL(filePath: folder.file("set/images.csv")))
    let table = try LabelledImages(folder.file("set"), labelOffset: 1)
    #expect(table.entries.map(\.name) == ["3/a.png"] && table.entries.map(\.label) == [8])
    #expect(try LabelledImages(Self.records).entries[3].label == CIFAR10File(Self.records)[3].label)
  }

  @Test(
    "unseen samples are of the region's classes and not in it, the others of other classes, further regions disjoint")
  func source() throws {
    let images = try LabelledImages(Self.records)
    var source = RegionSource(
      images: images, unseen: nil, preprocessing: try .named("cifar10"), inputShape: [3, 32, 32])
    source.otherCount = 1
    // The records have two classes: a region of one leaves the other for the control.
    let drawn = try source.drawn(1, classes: 1, perClass: 2)
    let region = try source.region(drawn[0], at: 0)
    let own = Set(region.samples.region.sampleNames)
    let classes = Set(try #require(region.classLabels))
    #expect(own.count == 2 && classes.count == 1)
    if let unseen = region.unseen {
      #expect(own.isDisjoint(with: unseen.region.sampleNames))
      #expect(Set(try #require(unseen.labels)).isSubset(of: classes))
    }
    let control = try #require(region.control)
    #expect(Set(try #require(control.labels)).isDisjoint(with: classes))
    for other in region.others { #expect(own.isDisjoint(with: other.sampleNames) && other.count == 2) }
    let total = region.samples.region.count + (region.unseen?.region.count ?? 0) + control.region.count
    #expect(total == images.entries.count)
  }
}

extension URL {
  /// The pictures directly in a folder.
  fileprivate func pictures() throws -> [URL] {
    try FileManager.default.contentsOfDirectory(at: self, includingPropertiesForKeys: nil)
      .filter { ["png", "jpg"].contains($0.pathExtension) }.sorted { $0.path < $1.path }
  }
}
