"""Trained networks for explain_fidelity.py."""
