@_exported import CatenaGraph
