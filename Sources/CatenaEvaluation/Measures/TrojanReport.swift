import CatenaExplain

/// The tables of a trojan evaluation, beside the published figures.
public struct TrojanReport: Sendable {
  /// SPADE's figures on trojaned ResNet-50 networks and ImageNet pictures: AUC in per cent, dense, fast, exact.
  public static let published: [AttributionMethod: (dense: Double, fast: Double, exact: Double)] = [
    .saliency: (87.9, 93.9, 96.2), .inputTimesGradient: (85.4, 90.6, 95.1), .deepLIFT: (94.1, 95.1, 96.6),
    .lrp: (90.8, 98.0, 99.2), .guidedBackpropagation: (95.7, 95.8, 97.1), .guidedGradCAM: (98.0, 97.8, 98.4),
    .lime: (90.7, 93.9, 95.5), .occlusion: (88.3, 90.9, 95.4), .integratedGradients: (89.6, 93.6, 96.1),
    .gradientSHAP: (89.5, 93.8, 96.0),
  ]

  /// AUC by method and column.
  public let areas: Table
  /// The pointing game by method and column.
  public let pointing: Table
  /// What the traces gain: part of the gap closed, worst method, predictions kept.
  public let gains: Table

  /// Tables of the columns; the first is the dense network's.
  public init(
    _ columns: [TrojanEvaluation.Measured], methods: [AttributionMethod], bootstrap: Bootstrap = Bootstrap()
  ) {
    let count = columns.first?.keepsPrediction.count ?? 0
    let confidence = Int((bootstrap.confidence * 100).rounded())
    let note = "mean over \(count) triggered pictures, [\(confidence) % bootstrap interval]; in per cent"
    func interval(_ values: [Double]) -> Table.Cell { .interval(bootstrap.interval(ofMean: values)) }
    func headings(_ published: [String]) -> [Table.Column] {
      [Table.Column("method")] + columns.map { Table.Column($0.name, style: .percent(1)) }
        + published.map { Table.Column("published_\($0)", heading: "published \($0)", style: .percent(1)) }
    }
    var areas = Table(
      name: "trojan-auc", title: "How well the maps find the trigger: pixel AUC",
      columns: headings(["dense", "fast", "exact"]),
      notes: [
        note,
        "published: SPADE on trojaned ResNet-50 networks and ImageNet pictures, another network and another trigger",
      ])
    var pointing = Table(
      name: "trojan-pointing", title: "How often the highest pixel lies on the trigger", columns: headings([]),
      notes: [note])
    for method in methods {
      let name = method.rawValue
      let known = Self.published[method].map { [$0.dense, $0.fast, $0.exact].map { Table.Cell.number($0 / 100) } }
      areas.append(
        [.text(name)] + columns.map { interval($0.areas[name] ?? []) } + (known ?? [.missing, .missing, .missing]))
      pointing.append([.text(name)] + columns.map { interval($0.pointing[name] ?? []) })
    }
    areas.append(
      [.text("mean")] + columns.map { interval($0.meanAreas) } + [.number(0.910), .number(0.943), .number(0.966)])
    self.areas = areas
    self.pointing = pointing
    gains = Self.gains(columns, methods, bootstrap)
  }

  private static func gains(
    _ columns: [TrojanEvaluation.Measured], _ methods: [AttributionMethod], _ bootstrap: Bootstrap
  ) -> Table {
    var table = Table(
      name: "trojan-gains", title: "What the traces gain over the dense network",
      columns: [
        Table.Column("solver"), Table.Column("gain", heading: "gain of the mean AUC", style: .percent(2)),
        Table.Column("gap_closed", heading: "part of the gap closed", style: .percent(1)),
        Table.Column("worst_method", heading: "worst method"),
        Table.Column("worst_change", heading: "its change", style: .percent(2)),
        Table.Column("kept", heading: "prediction kept", style: .percent(1)),
      ],
      notes: [
        "gap: from the dense mean AUC to 1; pictures are resampled together with what all columns score on them"
      ])
    guard let dense = columns.first else { return table }
    for column in columns.dropFirst() {
      let gain = bootstrap.interval(ofMeanDifference: column.meanAreas, dense.meanAreas)
      let changes = methods.map { method in
        (method, mean(of: column.areas[method.rawValue] ?? []) - mean(of: dense.areas[method.rawValue] ?? []))
      }
      let worst = changes.min { $0.1 < $1.1 }
      table.append([
        .text(column.name), .interval(gain),
        mean(of: dense.meanAreas) < 1
          ? .interval(
            bootstrap.interval(
              ofRatio: zip(column.meanAreas, dense.meanAreas).map(-), dense.meanAreas.map { 1 - $0 })) : .missing,
        .text(worst?.0.rawValue ?? ""), worst.map { .number($0.1) } ?? .missing,
        .interval(bootstrap.interval(ofMean: column.keepsPrediction.map { $0 ? 1 : 0 })),
      ])
    }
    return table
  }
}
