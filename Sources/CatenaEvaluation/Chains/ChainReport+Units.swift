import Foundation

// MARK: - C, importance

extension ChainReport {
  var importance: Table? {
    let found = records.compactMap(\.importance)
    guard !found.isEmpty else { return nil }
    var table = Table(
      name: "importance", title: "C. What the retained units matter",
      columns: [.init("measure"), .init("value"), .init("lowest"), .init("highest")],
      notes: [
        noteOfMeans,
        "lowest, highest: over the regions. delta KL: KL without one retained unit less KL with all, in nats.",
      ])
    func append(_ name: String, _ values: [Double?]) {
      let known = values.compactMap { $0 }
      table.append([
        .text(name), average(values), known.min().map { .number($0) } ?? .missing,
        known.max().map { .number($0) } ?? .missing,
      ])
    }
    append("delta KL, mean over units", found.map { meanOfAny($0.units.map(\.deltaDivergence)) })
    append("delta KL, median over units", found.map { median($0.units.map(\.deltaDivergence)) })
    append("delta KL, largest", found.map { $0.units.map(\.deltaDivergence).max() })
    append(
      "part of the units with delta KL > 0",
      found.map { record in meanOfAny(record.units.map { $0.deltaDivergence > 0 ? 1 : 0 }) })
    append("rank correlation of S and delta KL", found.map(\.rankCorrelation))
    append("KL of the dense network without the retained units", found.map(\.denseWithout.divergence))
    append(
      "KL of the dense network without as many others",
      found.map { meanOfAny($0.denseWithoutOthers.map(\.divergence)) })
    append("agreement without the retained units", found.map(\.denseWithout.agreement))
    append(
      "agreement without as many others", found.map { meanOfAny($0.denseWithoutOthers.map(\.agreement)) })
    return table
  }

  private func median(_ values: [Double]) -> Double? {
    values.isEmpty ? nil : quantile(0.5, ofSorted: values.sorted())
  }

  var swaps: Table? {
    let found = records.compactMap(\.importance)
    let fractions = Set(found.flatMap(\.swapped.keys)).sorted()
    guard !fractions.isEmpty else { return nil }
    var table = Table(
      name: "swaps", title: "C. Retained units exchanged for random others of their layers",
      columns: [.fraction("exchanged", "exchanged"), .agreement, .divergence, .cosine],
      notes: [noteOfMeans, "At least one unit of every layer that has others."])
    table.append([
      .number(0), average { $0.binary?.agreement }, average { $0.binary?.divergence }, average { $0.binary?.cosine },
    ])
    for fraction in fractions {
      func value(_ of: @escaping (OutputMeasures) -> Double) -> Table.Cell {
        average(found.map { meanOfAny(($0.swapped[fraction] ?? []).map(of)) })
      }
      table.append([.number(fraction), value(\.agreement), value(\.divergence), value(\.cosine)])
    }
    return table
  }

  /// Every retained unit of every region.
  var units: Table? {
    guard records.contains(where: { $0.importance != nil }) else { return nil }
    var table = Table(
      name: "units", title: "Retained units, left out one at a time",
      columns: [
        .init("region"), .init("layer"), .init("unit"), .init("score", style: .decimal(4)),
        .init("delta_kl", heading: "delta KL", style: .decimal(5)),
      ])
    for record in records {
      for unit in record.importance?.units ?? [] {
        table.append([
          .text(record.name), .text(unit.layer), .count(unit.index), .number(unit.score),
          .number(unit.deltaDivergence),
        ])
      }
    }
    return table
  }
}

// MARK: - Stability

extension ChainReport {
  var stability: Table? {
    guard records.contains(where: { !$0.otherSeeds.isEmpty || !$0.otherSamples.isEmpty }) else { return nil }
    var table = Table(
      name: "stability", title: "Stability: overlap of the retained units (Jaccard)",
      columns: [
        .init("chains"), .init("overlap"), .init("chance"), .init("difference"), .init("regions"),
      ],
      notes: [
        noteOfMeans,
        "chance: between random units at the two chains' counts per layer. Regions without enough other samples",
        "of their classes are left out.",
      ])
    func append(_ name: String, _ overlaps: (RegionRecord) -> [OverlapRecord]) {
      let found = records.map(overlaps).filter { !$0.isEmpty }
      let own = found.map { mean(of: $0.map(\.overlap)) }
      let chance = found.map { mean(of: $0.map(\.chance)) }
      table.append([
        .text(name), average(own), average(chance),
        found.isEmpty ? .missing : .interval(bootstrap.interval(ofMeanDifference: own, chance)), .count(found.count),
      ])
    }
    append("of other seeds", \.otherSeeds)
    append("of other samples of the classes", \.otherSamples)
    return table
  }
}

// MARK: - Regions

extension ChainReport {
  /// The chain of every region.
  var regions: Table {
    var table = Table(
      name: "regions", title: "Every region",
      columns: [
        .init("region"), .init("classes"), .init("samples"), .fraction("units", "units"), .agreement, .divergence,
        .cosine, .fraction("soft_agreement", "soft agreement"), .init("soft_kl", heading: "soft KL"),
        .fraction("unseen_agreement", "unseen agreement"), .init("remark"),
      ])
    for record in records {
      var remarks: [String] = []
      if record.binary?.isConstant ?? true { remarks.append("failed: one class") }
      if !record.isMet { remarks.append("request not met") }
      func cell(_ value: Double?) -> Table.Cell { value.map { .number($0) } ?? .missing }
      table.append([
        .text(record.name), .text(record.classes.joined(separator: ", ")), .count(record.samples),
        .number(record.kept.units), cell(record.binary?.agreement), cell(record.binary?.divergence),
        cell(record.binary?.cosine), .number(record.soft.agreement), .number(record.soft.divergence),
        cell(record.methods[.chain]?.unseen.first?.outputs.agreement), .text(remarks.joined(separator: "; ")),
      ])
    }
    return table
  }

  /// Every draw of every way of choosing units on every set of samples of every region.
  var measurements: Table {
    var table = Table(
      name: "measurements", title: "Every measurement",
      columns: [
        .init("region"), .init("units_by"), .init("draw"), .init("samples"), .agreement, .divergence, .cosine,
        .init("constant"), .fraction("accuracy", "accuracy"),
        .fraction("accuracy_among_classes", "among the classes"),
      ])
    for record in records {
      func append(_ method: String, _ draw: Int, _ set: String, _ outputs: OutputMeasures, _ outside: OutsideMeasures?)
      {
        table.append([
          .text(record.name), .text(method), .count(draw), .text(set), .number(outputs.agreement),
          .number(outputs.divergence), .number(outputs.cosine), .count(outputs.isConstant ? 1 : 0),
          outside?.accuracy.map { .number($0) } ?? .missing,
          outside?.accuracyAmongClasses.map { .number($0) } ?? .missing,
        ])
      }
      append("chain, soft", 0, "region", record.soft, nil)
      for method in methods {
        guard let own = record.methods[method] else { continue }
        for (draw, outputs) in own.region.enumerated() { append(method.rawValue, draw, "region", outputs, nil) }
        for (draw, outside) in own.unseen.enumerated() {
          append(method.rawValue, draw, "unseen", outside.outputs, outside)
        }
        for (draw, outside) in own.control.enumerated() {
          append(method.rawValue, draw, "other classes", outside.outputs, outside)
        }
      }
    }
    return table
  }
}
