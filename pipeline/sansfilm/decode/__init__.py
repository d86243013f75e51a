"""Codestreams -> frames of stored values: a registry and one file per backend."""
