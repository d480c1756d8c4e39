"""Checks, figures and constants of one device, without Ray: what gpu.py runs.

Read the files in this order: subject, peaks, checks, figures, hosting, constants.
"""
