"""What a configuration says of data and task."""

from typing import Any

from ml_collections import ConfigDict

from multimodal_vit import data, sampler


def data_arguments(config: ConfigDict) -> tuple[Any, ...]:
    """What `data.load_splits` is called with; equal for equal data."""
    settings = config.data
    return (
        settings.source,
        settings.name,
        settings.directory,
        settings.audio,
        tuple(settings.test_speakers),
        tuple(settings.source_options.items()),
        tuple(settings.audio_options.items()),
        settings.validation_share,
    )


def make_task(config: ConfigDict, image_set: data.ImageSet) -> sampler.Task:
    """The task that `config.task` describes, on a data set's images and classes."""
    audio_shape = image_set.recordings.features.shape[1:] if image_set.recordings else None
    shape = image_set.images.shape[1:]
    return task_on(config, shape, image_set.num_classes, audio_shape)


def task_on(
    config: ConfigDict,
    image_shape: tuple[int, int, int],
    num_classes: int,
    audio_shape: tuple[int, int] | None,
) -> sampler.Task:
    """The same, on data that need not be at hand; see `sampler.Task`."""
    return sampler.Task(
        grid=tuple(config.task.grid),
        image_shape=image_shape,
        num_classes=num_classes,
        false_rate=config.task.false_rate,
        corruption=config.task.corruption,
        replacement_rate=config.task.replacement_rate,
        held_out=config.task.held_out,
        audio_shape=audio_shape,
        corruption_options=tuple(config.task.corruption_options.items()),
        augmentation=tuple(config.task.augmentation),
        num_labelled=config.train.num_labelled,
    )
