from asyncio.base_futures import *  # noqa: F403  # at run time it is that module
