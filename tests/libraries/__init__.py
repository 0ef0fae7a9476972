"""The library matrix: unmodified asyncio libraries on our loop, talking to real peers.

Each library has a file of its own. What its tests have in common: the library's ordinary work; a call cut off in the
middle by a native scope and by `Task.cancel()`, after which the library's pool or connection goes on; native code
(nurseries, scopes, channels) inside the library's handlers; and native tasks that call the library.
"""
