/// Problems whose rates say how good kernels are: layers of CIFAR networks and of ResNet-50 at their own size.
package enum RateProblems {
  /// A product so large that nothing but arithmetic bounds it.
  package static func largestProduct(isLargeDevice: Bool) -> String {
    isLargeDevice ? "gemm 8192x8192 8192x8192 weight" : "gemm 1024x1024 1024x1024 weight"
  }

  /// A copy that nothing but memory bounds.
  package static func copy(isLargeDevice: Bool) -> String {
    isLargeDevice ? "transpose 4x67108864 axes0x1" : "transpose 2x4194304 axes0x1"
  }

  /// Products, bound by arithmetic.
  /// - Parameter images: images per run for layers of ResNet-50.
  package static func products(images: Int) -> [String] {
    [
      "gemm 512x512 512x512 weight", "gemm 20x2048 1000x2048 1000 transposeB weight", "matmul 16x128x64 16x64x128",
      "convolution n20 c16 hw32x32 m16 k3x3 p1 bias", "convolution n20 c32 hw16x16 m64 k3x3 s2 p1",
      "convolution n\(images) c64 hw56x56 m64 k3x3 p1 bias", "convolution n\(images) c256 hw14x14 m256 k3x3 p1",
      "convolution n\(images) c64 hw56x56 m256 k1x1", "convolution n\(images) c1024 hw14x14 m256 k1x1",
      "convolutionTranspose n\(images) c64 hw56x56 m64 k3x3 p1",
      "convolutionTranspose n\(images) c128 hw28x28 m64 k3x3 s2 p1 o1",
    ]
  }

  /// Everything else, bound by memory.
  package static let memoryBound = [
    "unary relu 20x64x56x56", "binary add 20x64x56x56 20x64x56x56", "binary multiply 20x64x56x56 64x1x1",
    "batchNormalization 20x64x56x56", "gate 20x64x56x56", "gateGradient 20x64x56x56",
    "pool n20 c64 hw56x56 k2x2 s2 maximum", "reduce sum 20x64x56x56 axes2x3", "softmax 2048x1000 axes1",
    "slice 20x64x56x56 starts0x0x0x0 sizes20x64x28x28 steps1x1x2x2",
    "convolution n20 c96 hw56x56 m96 k3x3 p1 g96", "instanceNormalization 20x64x56x56",
  ]
}
