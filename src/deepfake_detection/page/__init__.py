"""A page on this machine to try a detector on pictures: a small server, and what it serves."""
