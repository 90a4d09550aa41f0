extension LoweredProgram {
  /// The program with every slot set to `bits`, as many as an element has room for, right before the first launch that
  /// writes to it: in every step for what a step makes, once for what is made of constants. Inputs, constants and the
  /// note of faults keep what they hold.
  ///
  /// Results must be the same for all `bits`: memory is handed on from one value to the next and from one program to the
  /// next, and what it holds then is anything.
  func settingUnwritten(to bits: UInt64, traits: KernelTraits) -> LoweredProgram {
    var result = self
    var written = Set(inputs.values.map(\.slot))
    if let fault { written.insert(fault) }
    result.preparation = settingUnwritten(to: bits, before: preparation, &written, traits)
    result.step = settingUnwritten(to: bits, before: step, &written, traits)
    return result
  }

  private func settingUnwritten(
    to bits: UInt64, before launches: [Launch], _ written: inout Set<SlotID>, _ traits: KernelTraits
  ) -> [Launch] {
    var result: [Launch] = []
    for launch in launches {
      for id in launch.writes where written.insert(id).inserted && slots[id.index].elementCount > 0 {
        result.append(Lowering.fillLaunch(id, slots[id.index], withBits: bits, traits: traits))
      }
      result.append(launch)
    }
    return result
  }
}
