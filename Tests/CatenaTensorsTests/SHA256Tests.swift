import CatenaTensors
import Testing

@Suite("SHA-256")
struct SHA256Tests {
  @Test(
    "The published examples of FIPS 180-4",
    arguments: [
      ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
      ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
      (
        "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
      ),
      (
        "abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"
      ),
    ])
  func publishedExamples(message: String, digest: String) {
    #expect(SHA256.hexDigest(of: Array(message.utf8)) == digest)
  }

  @Test("Pieces of any length give the digest of the whole", arguments: [1, 3, 55, 56, 63, 64, 65, 127, 128])
  func pieces(length: Int) {
    let message = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    var hash = SHA256()
    for start in stride(from: 0, to: message.count, by: length) {
      hash.update(Array(message[start..<min(start + length, message.count)]))
    }
    #expect(hash.hexDigest() == SHA256.hexDigest(of: message))
    #expect(hash.hexDigest() == "89f4ff56a25dd1db06a4ce6033603775d705fb96f30f8693733fef602a1ca532")
  }

  @Test("The digest can be read before the end")
  func intermediate() {
    var hash = SHA256()
    hash.update(Array("ab".utf8))
    #expect(hash.hexDigest() == SHA256.hexDigest(of: Array("ab".utf8)))
    hash.update(Array("c".utf8))
    #expect(hash.hexDigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }
}
