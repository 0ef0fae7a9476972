"""Families of workloads: which figures they give, and which systems are set against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of a workload: its clock, what the table calls it and how it is written.

    `render` gets nanoseconds per operation.
    """

    clock: str
    title: str
    render: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class Family:
    title: str
    figures: tuple[Figure, ...]
    ratios: tuple[tuple[str, str], ...]


def _nanoseconds(ns: float) -> str:
    return f"{ns:,.0f}"


def _microseconds(ns: float) -> str:
    return f"{ns / 1e3:,.1f}"


def _per_second(ns: float) -> str:
    return f"{1e9 / ns:,.0f}"


_TIMES = (
    Figure("wall", "wall time, ns per operation", _nanoseconds),
    Figure("cpu", "CPU time, ns per operation", _nanoseconds),
)

KERNEL = Family(
    "scheduling",
    _TIMES,
    (("nursery", "uvloop"), ("nursery", "trio"), ("nursery", "asyncio")),
)
ECHO = Family(
    "echo servers",
    (
        Figure("wall", "messages per second, wall time", _per_second),
        Figure("cpu", "CPU time of the server, us per message", _microseconds),
    ),
    (
        ("nursery", "uvloop"),
        ("nursery", "trio"),
        ("nursery", "asyncio"),
        ("nursery", "uvloop-protocol"),
        ("nursery", "epoll"),
        ("nursery-facade", "uvloop"),
        ("nursery-facade", "asyncio"),
        ("nursery-compat", "uvloop"),
        ("nursery-compat", "asyncio"),
        ("nursery-compat-protocol", "uvloop-protocol"),
    ),
)
DATAGRAMS = Family(
    "datagram echo servers",
    ECHO.figures,
    (
        ("nursery", "uvloop-protocol"),
        ("nursery", "asyncio-protocol"),
        ("nursery", "trio"),
        ("nursery", "epoll"),
        ("nursery-compat-protocol", "uvloop-protocol"),
    ),
)
OUTSIDE = Family(
    "threads and processes",
    (
        Figure("wall", "wall time, us per operation", _microseconds),
        Figure("cpu", "CPU time, us per operation", _microseconds),
    ),
    (
        ("nursery", "uvloop"),
        ("nursery", "asyncio"),
        ("nursery", "trio"),
        ("nursery", "uvloop-protocol"),
        ("nursery", "epoll"),
        ("nursery-compat", "uvloop"),
    ),
)
WEB = Family(
    "web servers",
    (
        Figure("wall", "requests per second, wall time", _per_second),
        Figure("cpu", "CPU time of the server, us per request", _microseconds),
    ),
    (("nursery-compat", "uvloop"), ("nursery-compat", "asyncio")),
)
ASYNCIO_API = Family(
    "one asyncio program on each loop",
    _TIMES,
    (
        ("nursery-facade", "uvloop"),
        ("nursery-facade", "asyncio"),
        ("nursery-compat", "uvloop"),
        ("nursery-compat", "asyncio"),
    ),
)
FAMILIES = (KERNEL, ECHO, DATAGRAMS, WEB, OUTSIDE, ASYNCIO_API)
