import CatenaTensors

/// One input of a network, with the name that messages and artifacts give it.
public struct Sample: Sendable {
  /// What the file holds.
  public enum Content: Sendable {
    /// A picture, to be preprocessed.
    case image(Image)
    /// A float32 input that is ready to use, without the batch axis.
    case tensor(Tensor)
  }

  /// The file, with the selection inside it where there is one: `photo.jpg`, `test.bin#17`.
  public let name: String
  /// The class that the file states, as CIFAR-10 records do.
  public let label: Int?
  /// The picture or the ready input.
  public let content: Content

  /// A sample of this content.
  public init(name: String, label: Int? = nil, content: Content) {
    (self.name, self.label, self.content) = (name, label, content)
  }
}

extension Preprocessing {
  /// The network's input for `samples`: a float32 tensor whose first axis is the samples, in their order.
  ///
  /// Pictures are preprocessed; ready tensors are taken as they are. All must agree in shape.
  /// - Precondition: there is at least one sample.
  public func tensor(of samples: [Sample]) throws(FileError) -> Tensor {
    precondition(!samples.isEmpty, "there are no samples")
    var inputs: [Tensor] = []
    for sample in samples {
      let input: Tensor
      switch sample.content {
      case .image(let image):
        let batch = try tensor(of: [image]) { _ in sample.name }
        input = batch.reshaped(to: Shape(Array(batch.shape.dimensions.dropFirst())))
      case .tensor(let tensor): input = tensor
      }
      if let first = inputs.first, first.shape != input.shape {
        throw FileError(
          .unsuitable, sample.name,
          "has the shape \(input.shape) after preprocessing, but \(samples[0].name) has \(first.shape); choose a "
            + "preprocessing that resizes")
      }
      inputs.append(input)
    }
    let shape = Shape([inputs.count] + inputs[0].shape.dimensions)
    return Tensor(elementType: .float32, shape: shape) { target in
      for (index, input) in inputs.enumerated() {
        input.withUnsafeBytes { bytes in
          UnsafeMutableRawBufferPointer(rebasing: target[index * bytes.count..<(index + 1) * bytes.count])
            .copyMemory(from: bytes)
        }
      }
    }
  }
}
