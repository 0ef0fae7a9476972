"""Files and paths, whose disk is waited for in other threads."""
