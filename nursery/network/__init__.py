"""Sockets, and the streams and listeners that stand on them."""
