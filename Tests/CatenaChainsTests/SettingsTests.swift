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
    #expect(fitted.draws == 4)
    #expect(fitted.firstTemperature == 0.3)
    #expect(fitted.firstSize == 0.5)
    let requests = [0.01, 0.05, 0.0625, 0.2, 0.6, 0.99]
    #expect(requests.map(fitted.firstSize(towards:)) == [0.25, 0.25, 0.3125, 0.5, 0.6, 0.95])
    #expect([0.05, 0.99].map(ChainSettings().firstSize(towards:)) == [0.95, 0.95])
    var settings = ChainSettings()
    settings.draws = 4
    #expect(settings.fitted(toUnits: 10_000).draws == 4)
    #expect(settings.fitted(toUnits: 10_000).firstTemperature == 1)
    #expect(settings.fitted(toUnits: 10_000).firstSize == 0.95)
    (settings.draws, settings.sensitiveUnits) = (0, 0)
    #expect(settings.fitted(toUnits: 10_000).draws == 0)
  }

  @Test("chains of a curve that keep more than a quarter of the units get fewer steps, none more than the others")
  func curveSteps() {
    let settings = ChainSettings()
    #expect([0.01, 0.1, 0.25].map(settings.curveSteps) == [30, 30, 30])
    #expect([0.4, 0.625, 0.85, 0.99, 1].map(settings.curveSteps) == [24, 15, 6, 1, 1])
    #expect(settings.steps(to: (larger: [[0.4], [0.625]], smaller: [[0.1]])) == 24 + 15 + 30)
    #expect(settings.steps(to: (larger: [[0.4, 0.1]], smaller: [])) == 30, "regions make as many steps together")
    var none = settings
    none.sizePart = 0
    #expect(none.curveSteps(at: 0.5) == 0)
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
