"""Joint training that runs with or without Ray."""
