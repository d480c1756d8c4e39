"""A load generator, and the three servers that serve_load.py puts under load."""
