# %% [markdown]
# # Your own fusion
#
# A fusion joins the tokens of words and image. Here is one in thirty lines, compared with the
# built-in Transformer encoder over two seeds. Two minutes on a laptop.

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
# How long each run trains.
import os

PAIRS = int(os.environ.get("NOTEBOOK_PAIRS", 12_000))  # of a grid of four digits and a text
DATA = os.environ.get("NOTEBOOK_DATA", "varied_digits")  # or "digits": each once, as a quick test

# %% [markdown]
# ## The file
#
# A component is a file of its own: the workdir of a run keeps a copy, so that the run can be
# repeated. The fusion gets the tokens of each modality, `{"words": [B, 4, D], "patches": [B, P,
# D]}`, and returns one summary, [B, D]. This one projects all tokens of a modality at once and
# multiplies what comes of them.

# %%
PRODUCT = '''
"""A fusion without attention: the modalities' tokens, projected and multiplied."""

import flax.linen as nn

from multimodal_vit.extend import Fusion, component, option


@component("model.fusion", "token_product")
class TokenProduct(Fusion):
    """All tokens of each modality, projected and multiplied: a sum of low-rank products."""

    dim: int
    rank: int
    uses = ()  # it acts by no shared field but the width

    class Options:
        """Stand in `config.model.fusion_options`, with these defaults."""

        rank: int = option(2, "products that are added up", least=1, most=64)

    @classmethod
    def build(cls, model, task, options):
        return cls(model.embedding_dim, options.rank)

    @nn.compact
    def __call__(self, tokens, *, train=False, return_attention=False):
        product = 1.0
        for name, x in tokens.items():  # x is (B, T, D)
            flat = x.reshape(len(x), -1)
            product *= nn.Dense(self.rank * self.dim, name=f"from_{name}")(flat)
        return product.reshape(-1, self.rank, self.dim).sum(axis=1), {"tokens": tokens}
'''
written = Path("product.py").write_text(PRODUCT.lstrip())

# %% [markdown]
# ## The study
#
# Two **conditions** (settings to be compared), two seeds each, and one comparison that is named
# before anything is trained.

# %%
from multimodal_vit.config import changed, from_file
from multimodal_vit.study import study

encoder = changed(
    from_file("digits_conv"),
    {
        "components": ("product.py",),
        "data.name": DATA,
        "model.stem": "conv",
        "model.num_conv_layers": 0,  # raw patches: quick on a CPU
        "model.patch_size": 14,
        "train.num_samples": PAIRS,
        "train.epochs_per_validation": 1,
        "evaluation.suites": ("order_foil",),
    },
)
config = study(
    "Is a product of all tokens enough?",
    {"encoder": encoder, "product": changed(encoder, {"model.fusion": "token_product"})},
    comparisons=[("encoder", "product")],
)
config.num_seeds = 2
config.seeds_together = True  # one program, compiled once

# %%
from rich.console import Console

from multimodal_vit.study_command import run_study

code = run_study(config, Path("runs/fusion"), Console(width=110, force_jupyter=False))

# %%
# The figure of the accuracies: a point is a run.
from IPython.display import Image

Image("runs/fusion/figures/accuracies.png", width=640)

# %% [markdown]
# `runs/fusion/report.html` is the whole report. Two seeds are too few for a test: the interval says
# so. Set `num_seeds = 5` and run it again; what is finished is not computed twice.
#
# [Extend](../extend.md) adds an objective and data in the same way, [fusions](../fusion.md) has
# the twenty-three that are built in. Next: [pre-train, then few labels](few_labels.md).
