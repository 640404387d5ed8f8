"""Studies: conditions × seeds in one resumable command. See `definition` and `runner`."""

from multimodal_vit.study.definition import cross, from_file, study

__all__ = ["cross", "from_file", "study"]
