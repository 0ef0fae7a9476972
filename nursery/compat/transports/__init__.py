"""The transports: asyncio's protocols on the kernel's descriptors."""
