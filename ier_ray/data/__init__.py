"""Data without a cluster: sources, ingest, shards, streams and preprocessing."""
