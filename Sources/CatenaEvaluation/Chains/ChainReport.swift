import CatenaChains
import Foundation

/// The tables of an evaluation: means over the regions with their intervals, and everything per region.
public struct ChainReport: Sendable {
  /// What was measured, one record per region.
  public let records: [RegionRecord]
  /// How intervals are made.
  public let bootstrap: Bootstrap

  /// A report.
  /// - Precondition: there is at least one record.
  public init(records: [RegionRecord], bootstrap: Bootstrap = Bootstrap()) {
    precondition(!records.isEmpty, "there is nothing to report")
    self.records = records
    self.bootstrap = bootstrap
  }

  /// The tables for people, in the order of the analyses; only those of analyses that were made.
  public var tables: [Table] {
    [fidelity, curve, unseen, baselines, importance, swaps, stability, regions].compactMap { $0 }
  }

  /// Further tables, for programs: what single units matter, and every draw.
  public var details: [Table] { [measurements, units].compactMap { $0 } }

  /// The mean over the regions in which the value exists.
  func average(_ values: [Double?]) -> Table.Cell {
    let known = values.compactMap { $0 }
    return known.isEmpty ? .missing : .interval(bootstrap.interval(ofMean: known))
  }

  /// The mean over the regions of what `value` gives for each.
  func average(_ value: (RegionRecord) -> Double?) -> Table.Cell { average(records.map(value)) }

  /// `3 of 10`.
  func share(_ holds: (RegionRecord) -> Bool) -> Table.Cell {
    .text("\(records.count(where: holds)) of \(records.count)")
  }

  /// What all tables of means say below them.
  var noteOfMeans: String {
    let regions = records.count == 1 ? "1 region" : "\(records.count) regions"
    let samples = Set(records.map(\.samples)).sorted().map(String.init).joined(separator: "/")
    let confidence = String(format: "%g", bootstrap.confidence * 100)
    return "Means over \(regions) of \(samples) samples, with \(confidence) % intervals (BCa bootstrap over regions)."
  }

  var methods: [UnitMethod] { UnitMethod.allCases.filter { records[0].methods[$0] != nil } }

  /// The mean over the draws of a method.
  func draws(_ record: RegionRecord, _ method: UnitMethod, _ value: (OutputMeasures) -> Double) -> Double? {
    (record.methods[method]?.region).flatMap { meanOfAny($0.map(value)) }
  }
}

/// The mean, `nil` of no values.
func meanOfAny(_ values: [Double]) -> Double? { values.isEmpty ? nil : mean(of: values) }

extension Table.Column {
  static func fraction(_ key: String, _ heading: String) -> Table.Column {
    Table.Column(key, heading: heading, style: .percent(1))
  }
  static let agreement = fraction("agreement", "agreement")
  static let divergence = Table.Column("kl", heading: "KL", style: .decimal(3))
  static let cosine = Table.Column("cosine", heading: "logit cosine", style: .decimal(3))
  static let failed = Table.Column("failed", heading: "failed")
  static let kept = [
    fraction("units", "units"), fraction("blocks", "blocks"), fraction("parameters", "parameters"),
    fraction("multiply_adds", "MACs"),
  ]
}

// MARK: - A, fidelity

extension ChainReport {
  private var failedNote: String {
    "failed: gives one class for a region to which the dense network gives several. KL in nats."
  }

  /// Fidelity in the region at the chain's size.
  private var fidelity: Table {
    var table = Table(
      name: "fidelity", title: "A. Fidelity in the region",
      columns: [.init("mode"), .agreement, .divergence, .cosine, .failed] + Table.Column.kept,
      notes: [
        noteOfMeans,
        "binary: retained units exactly as they are; soft: scaled by their scores. Units, blocks, parameters",
        "and multiply-adds: what is kept of the network. \(failedNote)",
      ])
    let kept = [
      average { $0.kept.units }, average { $0.kept.blocks }, average { $0.kept.parameters },
      average { $0.kept.multiplyAdds },
    ]
    table.append(
      [
        .text("binary"), average { $0.binary?.agreement }, average { $0.binary?.divergence },
        average { $0.binary?.cosine }, share { $0.binary?.isConstant ?? true },
      ] + kept)
    table.append(
      [
        .text("soft"), average { $0.soft.agreement }, average { $0.soft.divergence }, average { $0.soft.cosine },
        share { $0.soft.isConstant },
      ] + kept)
    return table
  }

  /// Fidelity over sparsity.
  private var curve: Table? {
    let fractions = Set(records.flatMap { $0.curve.map(\.atMost) }).sorted(by: >)
    guard !fractions.isEmpty else { return nil }
    var table = Table(
      name: "curve", title: "A. Fidelity against sparsity (binary)",
      columns: [.fraction("at_most", "units at most"), .agreement, .divergence, .cosine, .failed]
        + Table.Column.kept + [.init("regions")],
      notes: [
        noteOfMeans, "The best chain of each region's curve with at most so many units; what it keeps, on average.",
      ])
    for fraction in fractions {
      let readings = records.compactMap { record in record.curve.first { $0.atMost == fraction } }
      func kept(_ part: (CurveReading) -> Double?) -> Table.Cell {
        meanOfAny(readings.compactMap(part)).map { .number($0) } ?? .missing
      }
      table.append([
        .number(fraction), average(readings.map(\.agreement)), average(readings.map(\.divergence)),
        average(readings.map(\.cosine)), .text("\(readings.count(where: \.isConstant)) of \(readings.count)"),
        kept(\.units), kept { $0.kept?.blocks }, kept { $0.kept?.parameters }, kept { $0.kept?.multiplyAdds },
        .count(readings.count),
      ])
    }
    return table
  }
}

// MARK: - B, other images

extension ChainReport {
  private var unseen: Table? {
    guard records.contains(where: { $0.denseUnseen != nil || $0.denseControl != nil }) else { return nil }
    var table = Table(
      name: "unseen", title: "B. Images that the chain was not made from",
      columns: [
        .init("images"), .init("network"), .agreement, .divergence, .fraction("accuracy", "accuracy"),
        .fraction("accuracy_among_classes", "among the classes"), .init("samples", heading: "images/region"),
      ],
      notes: [
        noteOfMeans, "Agreement and KL with the dense network. accuracy: over all classes of the network; among the",
        "classes: when only the region's compete. Other classes are a control: a chain serves its region alone.",
      ])
    func append(_ set: String, _ network: String, _ value: (RegionRecord) -> OutsideMeasures?) {
      let measured = records.compactMap(value)
      guard !measured.isEmpty else { return }
      table.append([
        .text(set), .text(network), average(measured.map(\.outputs.agreement)),
        average(measured.map(\.outputs.divergence)), average(measured.map(\.accuracy)),
        average(measured.map(\.accuracyAmongClasses)),
        .text("\(Set(measured.map(\.outputs.samples)).rangeText)"),
      ])
    }
    append("the region's classes", "dense", \.denseUnseen)
    append("the region's classes", "chain") { $0.methods[.chain]?.unseen.first }
    append("other classes", "dense", \.denseControl)
    append("other classes", "chain") { $0.methods[.chain]?.control.first }
    return table
  }
}

extension Set<Int> {
  /// `180`, or `172-185`.
  fileprivate var rangeText: String {
    guard let low = self.min(), let high = self.max() else { return "" }
    return low == high ? "\(low)" : "\(low)-\(high)"
  }
}

// MARK: - Baselines

extension ChainReport {
  private var baselines: Table? {
    guard methods.count > 1 else { return nil }
    var table = Table(
      name: "baselines", title: "Baselines: as many units in every layer, chosen otherwise, weights unchanged",
      columns: [
        .init("units_by", heading: "units by"), .agreement, .divergence, .cosine, .failed,
        .fraction("unseen_agreement", "unseen agreement"), .fraction("difference", "chain - this"),
        .init("chain_better", heading: "chain better in"),
      ],
      notes: [
        noteOfMeans,
        "random: \(records[0].methods[.random]?.region.count ?? 0) draws per region, averaged. chain - this: the mean difference of agreements, paired by region.",
      ])
    let own = records.map { $0.binary?.agreement ?? 0 }
    for method in methods {
      let agreements = records.map { draws($0, method) { $0.agreement } ?? 0 }
      let failures = records.count { record in
        (record.methods[method]?.region ?? []).allSatisfy(\.isConstant)
      }
      var row: [Table.Cell] = [
        .text(method.title), average(agreements), average { draws($0, method) { $0.divergence } },
        average { draws($0, method) { $0.cosine } }, .text("\(failures) of \(records.count)"),
        average { meanOfAny(($0.methods[method]?.unseen ?? []).map(\.outputs.agreement)) },
      ]
      row += method == .chain ? [.missing, .text("")] : comparison(own, agreements)
      table.append(row)
    }
    let best = records.map { record in
      methods.dropFirst().compactMap { draws(record, $0) { $0.agreement } }.max() ?? 0
    }
    table.append(
      [.text("best of these"), average(best), .missing, .missing, .text(""), .missing] + comparison(own, best))
    return table
  }

  private func comparison(_ own: [Double], _ other: [Double]) -> [Table.Cell] {
    let better = zip(own, other).count { $0 > $1 }
    return [.interval(bootstrap.interval(ofMeanDifference: own, other)), .text("\(better) of \(own.count)")]
  }
}
