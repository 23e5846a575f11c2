"""One file for each meter format."""
