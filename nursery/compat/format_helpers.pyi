from asyncio.format_helpers import *  # noqa: F403  # at run time it is that module
