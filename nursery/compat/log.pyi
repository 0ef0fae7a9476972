from asyncio.log import *  # noqa: F403  # at run time it is that module
