import ArgumentParser

struct EvaluateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "evaluate",
    abstract: "Measures how good chains and explanations are, as tables with intervals.",
    subcommands: [EvaluateChainCommand.self, EvaluateTrojanCommand.self])
}
