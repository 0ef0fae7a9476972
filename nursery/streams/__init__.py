"""Byte streams: what they promise, whatever carries the bytes."""
