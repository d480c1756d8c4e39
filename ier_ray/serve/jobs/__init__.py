"""Explanations as jobs: recorded before the reply, continued after any crash.

Read the files in this order: records, store, work, database, runner, replica. Only the last one
knows Ray.
"""
