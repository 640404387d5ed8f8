"""A JAX/Flax laboratory for one transformer encoder that reads several modalities at once.

The parts, in the order in which an experiment uses them (see `docs/architecture.md`):
`config`, `data`, `sampler`, `models`, `objective`, `train`, `evaluate`, `analysis`. Nothing is
imported here, so that `import multimodal_vit` costs nothing; import the part that you need.
"""

__version__ = "0.1.0"
