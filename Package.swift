// swift-tools-version: 6.2
import PackageDescription

// One target per room of the house; a target imports only what stands below it. See README, "The house".
let package = Package(
  name: "Catena",
  products: [
    .library(name: "Catena", targets: ["Catena"]),
    .executable(name: "catena", targets: ["CatenaCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    // Values
    .target(name: "CatenaTensors"),
    .target(name: "CatenaGraph", dependencies: ["CatenaTensors"]),
    // Files
    .target(name: "CPNG", linkerSettings: [.linkedLibrary("png")]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CTurboJPEG", pkgConfig: "libturbojpeg", providers: [.apt(["libturbojpeg0-dev"])]),
    .target(
      name: "CatenaFormats",
      dependencies: [
        "CatenaGraph", "CatenaReference", "CPNG", "CTurboJPEG", "CZlib",
        .product(name: "SwiftProtobuf", package: "swift-protobuf"),
      ], exclude: ["ONNX/onnx.proto"]),
    // Computation
    .target(name: "CatenaReference", dependencies: ["CatenaGraph"]),
    .target(name: "CatenaCompute", dependencies: ["CatenaGraph", "CatenaReference"]),
    .target(
      name: "COneDNN",
      cSettings: [.define("_GNU_SOURCE")],
      linkerSettings: [.linkedLibrary("dnnl"), .linkedLibrary("gomp")]),
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-openmp-dev", "liblapacke-dev"])]),
    .target(
      name: "CSolvers",
      linkerSettings: [.linkedLibrary("openblas"), .linkedLibrary("gomp")]),
    .target(
      name: "CatenaCPU",
      dependencies: [
        "CatenaCompute", "CatenaReference", "COneDNN", "COpenBLAS", "CSolvers",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .systemLibrary(name: "COpenCL", pkgConfig: "OpenCL", providers: [.apt(["ocl-icd-opencl-dev"])]),
    .target(name: "CKernelSources"),
    .target(name: "CatenaProblems", dependencies: ["CatenaReference"]),
    .target(
      name: "CatenaOpenCL",
      dependencies: [
        "CatenaCompute", "CatenaProblems", "COpenCL", "CKernelSources", .product(name: "Logging", package: "swift-log"),
      ]),
    // Methods
    .target(name: "CatenaAutodiff", dependencies: ["CatenaGraph"]),
    .target(
      name: "CatenaChains",
      dependencies: [
        "CatenaAutodiff", "CatenaCompute", "CatenaFormats", .product(name: "Logging", package: "swift-log"),
      ]),
    .target(
      name: "CatenaTraces", dependencies: ["CatenaAutodiff", "CatenaCompute", "CatenaFormats", "CatenaReference"]),
    .target(
      name: "CatenaExplain", dependencies: ["CatenaAutodiff", "CatenaCompute", "CatenaFormats", "CatenaReference"]),
    .target(
      name: "CatenaEvaluation", dependencies: ["CatenaChains", "CatenaTraces", "CatenaExplain", "CatenaReference"]),
    // The whole
    .target(name: "Catena", dependencies: ["CatenaEvaluation", "CatenaCPU", "CatenaOpenCL"]),
    .target(name: "CLaunch", cSettings: [.define("_GNU_SOURCE")]),
    .executableTarget(
      name: "CatenaCLI",
      dependencies: ["Catena", "CLaunch", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      path: "Tools/catena"),
    // Tests
    .target(name: "CTestAllocations", path: "Tests/CTestAllocations"),
    .target(
      name: "TestSupport",
      dependencies: [
        "CatenaGraph", "CatenaReference", "CatenaCompute", "CatenaFormats", "CatenaProblems", "CatenaOpenCL",
        "CTestAllocations",
      ],
      path: "Tests/TestSupport"),
    .testTarget(name: "CatenaTensorsTests", dependencies: ["CatenaTensors"]),
    .testTarget(name: "CatenaGraphTests", dependencies: ["CatenaGraph", "CatenaReference", "TestSupport"]),
    .testTarget(name: "CatenaReferenceTests", dependencies: ["CatenaReference", "CatenaCompute", "TestSupport"]),
    .testTarget(name: "CatenaFormatsTests", dependencies: ["CatenaFormats", "CatenaCompute", "TestSupport"]),
    .testTarget(
      name: "CatenaAutodiffTests",
      dependencies: ["CatenaAutodiff", "CatenaReference", "CatenaCompute", "CatenaFormats", "TestSupport"]),
    .testTarget(
      name: "CatenaCPUTests",
      dependencies: ["CatenaCPU", "CatenaAutodiff", "CatenaFormats", "COneDNN", "TestSupport"]),
    .testTarget(
      name: "CatenaOpenCLTests",
      dependencies: ["CatenaOpenCL", "CatenaCPU", "CatenaAutodiff", "CatenaFormats", "COpenCL", "TestSupport"]),
    .testTarget(
      name: "CatenaChainsTests",
      dependencies: ["CatenaChains", "CatenaCPU", "CatenaOpenCL", "CatenaFormats", "CatenaReference", "TestSupport"]),
    .testTarget(
      name: "CatenaTracesTests",
      dependencies: ["CatenaTraces", "CatenaCPU", "CatenaOpenCL", "CatenaFormats", "TestSupport"]),
    .testTarget(
      name: "CatenaExplainTests",
      dependencies: [
        "CatenaExplain", "CatenaCPU", "CatenaOpenCL", "CatenaFormats", "CatenaReference", "TestSupport",
      ]),
    .testTarget(name: "CatenaEvaluationTests", dependencies: ["CatenaEvaluation", "CatenaCPU", "TestSupport"]),
    .testTarget(name: "CatenaTests", dependencies: ["Catena", "CatenaReference", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c2x
)
