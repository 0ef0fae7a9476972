"""What lies between two hosts.

Invariant: a link is a value; what happens to one packet is drawn from the network's seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Link:
    """How packets fare between two hosts, the same in both directions.

    `delay`: seconds of the run's clock that a packet travels; `jitter`: up to how many seconds more, drawn for each
    packet; `loss`: the probability, from 0 to 1, that a packet is lost.

    Datagrams that are lost are gone, and jitter lets them overtake each other.  Streams keep their order and lose
    nothing, but what is lost is sent again after a while, and everything behind it waits.

    Raises ValueError for a negative time or a probability that is none.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0

    def __post_init__(self) -> None:
        if not self.delay >= 0 or not self.jitter >= 0:
            raise ValueError(f"delay and jitter must be non-negative, in seconds: {self!r}")
        if not 0 <= self.loss <= 1:
            raise ValueError(f"loss must be a probability, from 0 to 1: {self!r}")


PERFECT: Final = Link()
