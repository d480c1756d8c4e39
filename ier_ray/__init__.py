"""Train, tune, serve and explain image emotion recognition on a Ray cluster."""

__version__ = "0.1.0"
