"""Measuring the engine, the scheduler and the service for explain_service.py."""
