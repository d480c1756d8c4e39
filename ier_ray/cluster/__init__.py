"""Everything that touches Ray: ingest, streams, training, tuning, prediction, explanation."""
