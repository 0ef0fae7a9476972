from asyncio.base_subprocess import *  # noqa: F403  # at run time it is that module
