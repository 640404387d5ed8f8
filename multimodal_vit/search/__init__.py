"""A random search over a grid, shared by any number of processes. See `definition` and `worker`."""

from multimodal_vit.search.definition import search

__all__ = ["search"]
