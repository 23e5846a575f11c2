"""The consensus room: the protocol core, and the running node around it."""
