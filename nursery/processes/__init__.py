"""Child processes: starting, talking to, signalling and outliving them."""
