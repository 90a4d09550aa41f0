/// Why a dead channel was not cut out.
public enum KeepReason: String, Sendable, Hashable, Codable, CaseIterable {
  /// The axis belongs to an input or output of the network.
  case boundary = "input or output of the network"
  /// On a residual sum the live set is the union over its writers.
  case otherWriter = "another writer of a sum is live on the channel"
  /// A reader in front of the zeroing point needs the channel.
  case otherReader = "a reader sees the channel live"
  /// For instance behind a residual sum.
  case normalization = "a normalisation behind it turns the zero into a constant"
  /// Sigmoid, for instance.
  case activation = "an activation turns the zero into a constant"
  /// A per-channel addition.
  case addition = "a constant is added to the zero"
  /// A grouped or depthwise convolution.
  case convolutionBias = "a convolution's bias remains where its input is zero"
  /// A pad whose value is not zero.
  case padding = "padding with a non-zero value"
  /// Local response normalisation.
  case window = "a normalisation window or softmax reads several channels"
  /// A spatial axis.
  case spatial = "a window runs along the axis"
  /// A mean, an extreme or a product over the axis.
  case reduction = "a reduction over the axis depends on its extent"
  /// A grouped convolution's groups are equal.
  case groups = "the groups of a convolution must stay equal"
  /// Channel shuffle, for instance.
  case reshape = "a reshape splits the axis"
  /// Every second channel, for instance.
  case stridedSlice = "a strided slice runs along the axis"
  /// Indices that the graph computes.
  case gather = "indices that are no constant vector pick from the axis"
  /// An axis that is resampled.
  case resize = "the axis is resampled"
  /// A value whose only element along the axis serves many.
  case broadcast = "the axis is broadcast"
  /// A value that is read keeps a channel.
  case lastChannel = "at least one channel of a value stays"
  /// No rule is known; nothing is cut.
  case unsupported = "the operator's channels are not understood"
}
