"""Channels: objects handed from task to task."""

from .abstract import Channel, ReceiveChannel, SendChannel
from .memory import MemoryChannelStatistics, MemoryReceiveChannel, MemorySendChannel, open_memory_channel

__all__ = [
    "Channel",
    "MemoryChannelStatistics",
    "MemoryReceiveChannel",
    "MemorySendChannel",
    "ReceiveChannel",
    "SendChannel",
    "open_memory_channel",
]
