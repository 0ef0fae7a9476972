from asyncio.base_tasks import *  # noqa: F403  # at run time it is that module
