"""The ways in: what prints, parses arguments or speaks HTTP, and nothing else in the package does."""
