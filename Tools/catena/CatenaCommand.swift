import ArgumentParser
import Catena

@main
struct CatenaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catena",
    abstract: "Shows which part of a trained network produced a prediction.",
    discussion: """
      Exit codes: 0 done; 1 failed; 2 finished, but the requested budget or agreement was not met (the best point is
      written); 64 bad usage; 65 bad input data; 75 stopped.
      """,
    version: catenaVersion,
    subcommands: [
      DevicesCommand.self, InspectCommand.self, RunCommand.self, ChainCommand.self, VerifyCommand.self,
      BenchCommand.self,
    ])
}
