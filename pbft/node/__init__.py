"""The running replica around the pure core."""
