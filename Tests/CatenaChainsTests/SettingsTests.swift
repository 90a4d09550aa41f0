import CatenaChains
import Testing

/// What of the settings follows from the size of the network.
struct SettingsTests {
  @Test("small networks keep the steps that are asked for", arguments: [688, 2032, 7058])
  func smallNetworks(units: Int) {
    #expect(ChainSettings().fitted(toUnits: units) == ChainSettings())
  }

  @Test("large networks get steps with hard gates, and keep those before them", arguments: [7500, 26_560, 100_000])
  func largeNetworks(units: Int) {
    let settings = ChainSettings()
    let fitted = settings.fitted(toUnits: units)
    let straight = min(425 * units / 40_000, 425)
    #expect(fitted.steps == 425 + straight)
    #expect(Int(fitted.straightPart * Double(fitted.steps)) == straight)
    #expect(Int(fitted.branchEnd * Double(fitted.steps)) == 200)
    #expect(Int(fitted.coolingEnd * Double(fitted.steps)) == 200)
    #expect(abs(fitted.shrinkingEnd * Double(fitted.steps) - 300) < 1e-9)
    #expect(settings.sizeSteps == 30 && fitted.sizeSteps == 30)
    #expect(fitted.fitted(toUnits: units) == fitted)
  }

  @Test("scores of large networks begin in the order of sensitivities, unless other draws are asked for")
  func sensitivities() {
    #expect(ChainSettings().fitted(toUnits: 9_999).draws == 0)
    let fitted = ChainSettings().fitted(toUnits: 10_000)
    #expect(fitted.draws == 16)
    #expect(fitted.firstTemperature == 0.3)
    #expect(fitted.firstSize == 0.5)
    var settings = ChainSettings()
    settings.draws = 4
    #expect(settings.fitted(toUnits: 10_000).draws == 4)
    #expect(settings.fitted(toUnits: 10_000).firstTemperature == 1)
    #expect(settings.fitted(toUnits: 10_000).firstSize == 0.95)
    (settings.draws, settings.sensitiveUnits) = (0, 0)
    #expect(settings.fitted(toUnits: 10_000).draws == 0)
  }

  @Test("steps that are asked for grow in proportion")
  func fewSteps() {
    var settings = ChainSettings()
    settings.steps = 100
    #expect(settings.fitted(toUnits: 40_000).steps == 170)
    #expect(settings.sizeSteps == 6)
    settings.straightPart = 0
    #expect(settings.fitted(toUnits: 40_000).steps == 100)
  }

  @Test("a number of units that says nothing changes nothing", arguments: [0, -1, Double.nan])
  func nonsense(straightUnits: Double) {
    var settings = ChainSettings()
    (settings.straightUnits, settings.sensitiveUnits) = (straightUnits, straightUnits)
    #expect(settings.fitted(toUnits: 26_560).steps == 500)
    #expect(settings.fitted(toUnits: 26_560).draws == 0)
  }
}
