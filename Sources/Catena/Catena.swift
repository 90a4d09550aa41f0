@_exported import CatenaAutodiff
@_exported import CatenaChains
@_exported import CatenaCompute
@_exported import CatenaEvaluation
@_exported import CatenaExplain
@_exported import CatenaFormats
@_exported import CatenaGraph
@_exported import CatenaTensors
@_exported import CatenaTraces

/// The version of this library and of the program `catena`, as artifacts record it.
public let catenaVersion = "0.1.0"
