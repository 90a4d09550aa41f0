import ArgumentParser
import Catena

struct DevicesCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "Lists what can compute here and which device would be chosen, and why.")

  @Flag(help: "Print JSON.")
  var json = false

  func run() async throws {
    let json = json
    try await reportingFailures {
      let survey = Engine.survey()
      if json { return try Output.json(survey) }
      let rows = survey.devices.map { device in
        [
          device.choice, device.description?.name ?? "", device.description?.instructionSet ?? "",
          device.description.map { "\($0.threads)" } ?? "",
          device.description?.memory.map(Output.bytes) ?? "", device.remark,
        ]
      }
      try Output.line(Output.table(["device", "name", "instructions or driver", "threads", "memory", ""], rows))
      try Output.line("\n--device auto: \(survey.chosen), \(survey.reason)")
    }
  }
}
