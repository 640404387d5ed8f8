"""What several objectives ask of a configuration."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from multimodal_vit import components
from multimodal_vit.sampler import Task


def text_problems(config: ConfigDict, task: Task | None) -> Iterator[str]:
    """What is wrong with a configuration whose objective joins written words and an image."""
    if task is not None:
        return
    name, modalities = config.train.objective, tuple(config.model.modalities)
    if set(modalities) != {"words", "patches"}:
        yield (
            f"train.objective={name!r} reads model.modalities=('words', 'patches'), not "
            f"{modalities}"
        )
    if not 0 < config.task.false_rate < 1:
        yield (
            f"train.objective={name!r} learns from true texts, but its verdict is asked about "
            f"false ones: task.false_rate={config.task.false_rate} must be above 0 and below 1"
        )


def fusion_problems(config: ConfigDict, task: Task | None, needs: str, about: str) -> Iterator[str]:
    """A fusion that lacks what an objective needs.

    Args:
      config: whole.
      task: None before the data is read, when this is asked.
      needs: the class attribute of the fusion that must be True.
      about: what it can then do, in words.
    """
    name = config.model.fusion
    if task is not None or not components.exists("model.fusion", name):
        return
    able = [own.name for own in components.all_of("model.fusion") if getattr(own.target, needs)]
    if name not in able:
        yield (
            f"train.objective={config.train.objective!r} needs a fusion that {about}: "
            f"model.fusion={name!r} is not one of {', '.join(able)}"
        )
