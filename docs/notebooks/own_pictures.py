# %% [markdown]
# # Your own pictures
#
# A folder of pictures becomes a data set, a model learns to read grids of them, and answers about
# pictures that it has never seen. Two minutes on a laptop. Replace the pictures of the second step
# by your own.

# %%
# Installs the package where it is missing, as on a hosted notebook.
import importlib.util
import subprocess
import sys
from pathlib import Path

SOURCE = "multimodal_vit-*.whl"  # a wheel beside the notebook, or git+ and the repository's address
if importlib.util.find_spec("multimodal_vit") is None:
    found = sorted(map(str, Path().glob(SOURCE)))[-1:] or [SOURCE]
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", *found], check=True)

# %%
# How long it trains.
import os

PAIRS = int(os.environ.get("NOTEBOOK_PAIRS", 16_000))  # of a grid of four pictures and a text

# %% [markdown]
# ## The pictures
#
# A folder for each class, named as the words are to be. Here four shapes are drawn, 300 of each,
# at places and sizes that vary. PNG, JPEG and other formats will do, grey or in colour.

# %%
import numpy as np
from PIL import Image, ImageDraw

rng = np.random.default_rng(0)
ANGLES = {"triangle": (90, 210, 330), "diamond": (0, 90, 180, 270)}


def shape(name):
    """A picture of 64×64: a dark shape on light paper."""
    picture = Image.new("L", (64, 64), 235)
    draw = ImageDraw.Draw(picture)
    x, y, r = *rng.uniform(24, 40, 2), rng.uniform(12, 20)
    if name in ANGLES:
        corners = np.deg2rad(ANGLES[name])
        draw.polygon([(x + r * np.cos(a), y - r * np.sin(a)) for a in corners], fill=30)
    elif name == "circle":
        draw.ellipse((x - r, y - r, x + r, y + r), fill=30)
    else:
        draw.ellipse((x - r, y - r, x + r, y + r), outline=30, width=5)
    return picture


NAMES = ("circle", "diamond", "ring", "triangle")
for name in NAMES:
    folder = Path("pictures/shapes", name)
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(300):
        shape(name).save(folder / f"{i:03d}.png")

# %% [markdown]
# ## Train
#
# `own_images` is an experiment that comes with the program. The objective `masked_labels` hides
# words of true texts and predicts them from the image; it learns from few pairs. The program
# checks the pictures first, and says in one line what it cannot use.

# %%
from IPython.display import Image as Shown
from rich.console import Console

from multimodal_vit.commands import run_train
from multimodal_vit.config import changed, from_file
from multimodal_vit.workdir import Workdir

config = changed(
    from_file("own_images"),
    {
        "name": "shapes",
        "data.directory": "pictures",
        "data.name": "shapes",
        "model.num_encoder_layers": 2,
        "model.embedding_dim": 64,
        "model.mlp_dim": 128,
        "model.dropout_rate": 0.0,
        "train.objective": "masked_labels",
        "train.num_samples": PAIRS,
        "train.batch_size": 64,
        "train.warmup_steps": 20,
        "train.patience": 0,
        "train.epochs_per_validation": 4,
        "evaluation.suites": ("order_foil",),
    },
)
workdir = Workdir("runs/shapes")
code = run_train(config, workdir, Console(width=110, force_jupyter=False))

# %%
# The sheet of examples that a run draws: a grid, its text, whether the text is true.
Shown(str(workdir.path / "samples.png"), width=640)

# %% [markdown]
# ## Ask it about new pictures
#
# Four pictures that it was not trained on, and two texts: the true one, and the same words with
# the first two exchanged.

# %%
import multimodal_vit

new = [shape(name) for name in ("ring", "triangle", "circle", "diamond")]
model = multimodal_vit.load(workdir.path)
texts = ["ring triangle circle diamond", "triangle ring circle diamond"]
for text, answer in zip(texts, model.predict([new, new], texts), strict=True):
    print(f"{text}: true with {answer.true:.1%}")

# %%
# Where each word takes its input from.
model.predict(new, texts[0], attention=True)[0].attention.plot().savefig("attention.png", dpi=90)
Shown("attention.png", width=640)

# %% [markdown]
# Next: [what does a model use?](what_it_uses.md) More about [data](../data.md) and about [a
# trained model in use](../use.md).
