"""Sweeps without Ray: the space, what to try next, when to stop a trial, records, a page."""
