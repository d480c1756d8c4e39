"""Sweeps without Ray: the space, what to try next, when to stop a trial, the trials' records."""
