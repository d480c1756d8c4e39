"""Runnable experiments and the report."""
