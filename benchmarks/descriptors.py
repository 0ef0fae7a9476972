"""How many descriptors a process may have: 1000 connections need more than many systems allow by default."""

from __future__ import annotations


def allow_as_many_as_possible() -> None:
    """Raise the soft limit to the hard one, where there are such limits."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
