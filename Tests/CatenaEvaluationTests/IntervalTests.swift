import CatenaEvaluation
import Testing

@Suite("intervals")
struct IntervalTests {
  @Test("hold what they were given")
  func values() {
    let interval = Interval(estimate: 0.5, lower: 0.4, upper: 0.7)
    #expect(interval.lower < interval.estimate && interval.estimate < interval.upper)
  }
}
