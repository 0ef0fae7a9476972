"""Threads that do what would block, and their way back into the run."""
