"""How good the maps of explanations are, by settings."""
