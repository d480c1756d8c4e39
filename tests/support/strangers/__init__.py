"""Networks as other people write them, generated from a seed."""
