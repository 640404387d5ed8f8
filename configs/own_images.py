"""Images of one's own: a folder for each class, or an .npz file (docs/data.md).

The pictures lie in `<directory>/<name>/<class>/*.png` (`--config.data.directory`). They become
28×28; with another `image_size` the program proposes the `model.patch_size` that fits. Of an .npz
file, `data.source` is "arrays", and its images keep their size.
The default is `mnist_conv.py:small`, made for two cores; the other presets are as there.

    python -m multimodal_vit.main --config=configs/own_images.py --config.data.name=shapes
"""

from ml_collections import ConfigDict

from multimodal_vit.config import changed, preset


def get_config(name: str = "small") -> ConfigDict:
    return changed(
        preset(name),
        {
            "data.source": "folder",
            "data.name": "own_images",
            "data.source_options.image_size": (28,),
        },
    )
