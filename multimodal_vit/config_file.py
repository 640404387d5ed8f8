"""A configuration as the text of a file that `--config` accepts."""

import textwrap

from ml_collections import ConfigDict

from multimodal_vit import config as configuration
from multimodal_vit.component_files import FOLDER, identity

_ABSENT = object()


def source(config: ConfigDict, title: str, about: str = "") -> str:
    """The text of a configuration file: what differs from `thesis()`, field by field.

    Args:
      config: an experiment's. Files of components of its own are taken from the folder
        `components/` beside the file, where a workdir keeps them.
      title: the first line of the docstring.
      about: the rest of it.
    """
    files = tuple(f"{FOLDER}/{name}" for name, _ in filter(None, map(identity, config.components)))
    start = configuration.fields(configuration.thesis())
    changes = {
        field: value
        for field, value in configuration.fields(config).items()
        if value != start.get(field, _ABSENT)
    } | ({"components": files} if files else {})
    docstring = [title, *(["", textwrap.fill(about, 100)] if about else [])]
    return "\n".join(
        [
            '"""' + "\n".join(docstring),
            '"""',
            "",
            "from ml_collections import ConfigDict",
            "",
            "from multimodal_vit.config import changed, thesis",
            "",
            "",
            "def get_config() -> ConfigDict:",
            "    return changed(",
            "        thesis(),",
            "        {",
            *(f"            {field!r}: {value!r}," for field, value in changes.items()),
            "        },",
            "    )",
            "",
        ]
    )
