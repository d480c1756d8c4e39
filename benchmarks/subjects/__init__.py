"""What several benchmarks measure with, and on."""
