"""Bytes on the wire: protobuf messages and total, bounded decoders."""
