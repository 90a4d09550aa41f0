import CatenaCompute

/// The shape of one build of the kernels for tensor cores (Kernels/tensor): what a work-group owns and how its warps
/// share it.
package struct TensorTile: Sendable, Hashable {
  /// What factors are rounded to.
  package var precision: Precision
  /// Output rows of a work-group.
  package var rows: Int
  /// Output columns of a work-group.
  package var columns: Int
  /// Warps along the rows.
  package var rowWarps: Int
  /// Warps along the columns.
  package var columnWarps: Int
  /// Steps in depth that are in local memory at the same time.
  package var stages: Int

  /// Work-items of a work-group.
  package var threads: Int { 32 * rowWarps * columnWarps }
  /// Bytes of local memory of a work-group: a row of 64 bytes for each output row and column, in every stage.
  package var localMemory: Int { stages * (rows + columns) * 64 }
  /// Depth of one step: the numbers in a row.
  package var depth: Int { precision == .bf16 ? 32 : 16 }

  var buildOptions: String {
    "-DTENSOR_BF16=\(precision == .bf16 ? 1 : 0) -DTILE_M=\(rows) -DTILE_N=\(columns) -DWARPS_M=\(rowWarps) "
      + "-DWARPS_N=\(columnWarps) -DSTAGES=\(stages)"
  }

  /// The work-groups of a product.
  func groups(rows: Int, columns: Int) -> Int { dividedUp(rows, self.rows) * dividedUp(columns, self.columns) }
}

/// Which products run on tensor cores.
package struct TensorPolicy: Sendable, Hashable {
  /// Builds that may be used, the one first that is preferred where it fills the device.
  package var families: [KernelFamily]
  /// Work-groups that a product must have to be worth it.
  package var leastGroups: Int

  /// No product.
  package static let none = TensorPolicy(families: [], leastGroups: 0)

  /// A policy.
  package init(families: [KernelFamily], leastGroups: Int) {
    self.families = families
    self.leastGroups = leastGroups
  }

  /// The build for a product; `nil` for the plain kernels.
  func family(rows: Int, columns: Int) -> (family: KernelFamily, tile: TensorTile)? {
    for family in families {
      guard let tile = family.tile else { continue }
      if tile.groups(rows: rows, columns: columns) >= leastGroups { return (family, tile) }
    }
    return nil
  }
}
