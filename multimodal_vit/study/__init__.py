"""Studies: conditions × seeds in one resumable command. See `definition` and `runner`."""

from multimodal_vit.config import from_file
from multimodal_vit.study.definition import cross, study

__all__ = ["cross", "from_file", "study"]
