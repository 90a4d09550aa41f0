import CatenaFormats

/// The problem of the `FileError` that `body` throws, or `nil` when it throws none.
func fileError<Result: ~Copyable>(_ body: () throws(FileError) -> Result) -> FileError? {
  do throws(FileError) {
    _ = try body()
    return nil
  } catch {
    return error
  }
}
