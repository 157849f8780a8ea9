"""Nested (many-in-one) networks and the one loop that trains them. Knows nothing of schedulers or trackers."""
