"""The kernel: the only place that knows what a task is.

Reading order: errors, current, traps, clock, deadlines, scope, task, nursery, parking, inbox, interrupts,
generators, foreign, instruments, runner, loop, entry, guest (docs/kernel.md is the map).
"""
