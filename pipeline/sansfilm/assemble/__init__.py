"""Decoded frames -> shard-shaped blocks of every level."""
