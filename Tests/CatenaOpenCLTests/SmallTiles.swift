import CatenaOpenCL

extension DeviceTraits {
  /// The shapes of a GPU's kernels with tiles and parts so small that small problems have several.
  static var smallTiles: DeviceTraits {
    var traits = DeviceTraits(kind: .gpu)
    traits.tile = DeviceTraits.Tile(rows: 16, columns: 8, inner: 4, itemRows: 4, itemColumns: 4)
    traits.rowsPerPart = 8
    return traits
  }
}
