"""Synchronisation between tasks."""
