"""The append-only Merkle log that is the truth: tree, files, checkpoint, proofs, entry kinds."""
