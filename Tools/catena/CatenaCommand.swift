import ArgumentParser
import Catena
import Foundation

@main
struct CatenaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "catena",
    abstract: "Shows which part of a trained network produced a prediction.",
    discussion: """
      First steps with a network of your own:
        catena inspect model.onnx
        catena run model.onnx photo.jpg --preprocess imagenet --labels names.txt
        catena chain model.onnx images/ --preprocess imagenet --keep 10% --out DIR
        catena verify DIR model.onnx
        catena explain model.onnx photo.jpg --preprocess imagenet --out DIR

      Exit codes: 0 done; 1 failed; 2 finished, but the requested budget or \
      agreement was not met (the best point is written); 64 bad usage; 65 bad input \
      data; 75 stopped.
      """,
    version: catenaVersion,
    subcommands: [
      DevicesCommand.self, InspectCommand.self, RunCommand.self, ChainCommand.self, VerifyCommand.self,
      TraceCommand.self, TuneRatiosCommand.self, EvaluateCommand.self, ExplainCommand.self, OperatorsCommand.self,
      BenchCommand.self, TuneCommand.self,
    ])

  static func main() async {
    // A reader that went away (`| head`) and a limit on the size of files are errors of a write, not the end of the
    // process: an output folder that was begun is removed, and the exit code says what happened.
    signal(SIGPIPE, SIG_IGN)
    signal(SIGXFSZ, SIG_IGN)
    await main(nil)
  }
}
