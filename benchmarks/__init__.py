"""Nursery measured against trio, asyncio and uvloop: `python -m benchmarks`."""
