"""Blocks -> objects: targets, shards, OME-Zarr metadata, and the commit that publishes them."""
