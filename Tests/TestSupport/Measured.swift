import Foundation

/// Numbers that tests measured, for who wants to read them: printed when the environment has CATENA_REPORT.
package enum Measured {
  private static let isWanted = ProcessInfo.processInfo.environment["CATENA_REPORT"] != nil

  /// Prints one line.
  package static func report(_ line: @autoclosure () -> String) {
    if isWanted { print("measured: \(line())") }
  }
}
