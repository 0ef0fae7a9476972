from asyncio.base_events import *  # noqa: F403  # at run time it is that module
