"""What runs on Ray, but for the service: ingest, training, tuning, evaluation, explanation."""
