# %% [markdown]
# # Pre-train, then few labels
#
# True texts are plenty: pictures come with captions. Pairs that somebody has marked as true or
# false are few. Does a model that has learned from true texts need fewer of these? Three minutes
# on a laptop.

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
# How long each trains, and how many pairs have a label.
import os

PAIRS = int(os.environ.get("NOTEBOOK_PAIRS", 25_000))  # of a grid of four digits and a text
DATA = os.environ.get("NOTEBOOK_DATA", "varied_digits")  # or "digits": each once, as a quick test
LABELLED = 1_000  # different pairs, each true or false; shown again and again

# %% [markdown]
# ## Three runs
#
# `before` learns from true texts alone (`masked_labels`: words are hidden, and named from the
# image). `after` starts from its embeddings and encoder, and learns true or false from 1,000 pairs.
# `scratch` learns from the same 1,000 and starts anew. All have the same size and see equally many
# pairs, repeated ones included.

# %%
from rich.console import Console

from multimodal_vit.commands import run_train
from multimodal_vit.config import changed, from_file
from multimodal_vit.workdir import Workdir

base = changed(
    from_file("digits_conv"),
    {
        "data.name": DATA,
        "model.stem": "conv",
        "model.num_conv_layers": 0,  # raw patches: quick on a CPU
        "model.patch_size": 14,
        "train.num_samples": PAIRS,
        "train.epochs_per_validation": 1,
        "evaluation.suites": ("single_foil", "order_foil"),
    },
)
labelled = changed(base, {"train.num_labelled": LABELLED, "train.epochs_per_validation": 20})
configs = {
    "before": changed(base, {"train.objective": "masked_labels"}),
    "scratch": labelled,
    "after": changed(
        labelled,
        {"model.initial": "runs/before", "model.initial_parts": ("embeddings_", "fusion")},
    ),
}
for name, config in configs.items():
    run_train(config, Workdir(f"runs/{name}"), Console(quiet=True))

# %% [markdown]
# ## What came of it

# %%
results = {name: Workdir(f"runs/{name}").results() for name in configs}
for name, found in results.items():
    low, high = found["test"]["intervals"]["match_accuracy"]
    right, order = found["test"]["match_accuracy"], found["suites"]["order_foil"]["auroc"]
    print(f"{name:8} right {right:.1%} [{low:.1%}, {high:.1%}], order foils: AUROC {order:.3f}")

# %%
# In words.
for name in ("scratch", "after"):
    print(f"{name}: {results[name]['verdict']['sentence']}\n")

# %%
# As places on a scale.
from IPython.display import Image

from multimodal_vit.analysis import scale_figure

scales = {name: [found["verdict"]["scale"]] for name, found in results.items()}
scale_figure.strip(scales, {}).savefig("scale.png", dpi=110)
Image("scale.png", width=640)

# %% [markdown]
# One seed, one number of labels. `before` answers without any label of true or false: it names the
# words of a grid, and the Bayes rule says how likely a text is true. Its encoder alone does not
# answer: `after` has a new true/false output, which has to learn that from the labelled pairs.
#
# `before` has seen what each training image shows, so nothing is saved for somebody who has to
# label images first. `mae`, `simclr`, `byol`, `data2vec` and `swav` learn from images alone: put
# one of these names in place of `masked_labels`, and set `evaluation.suites` of `before` to `()`.
# [Objectives](../objectives.md) says what each does; `configs/study_few_labels.py` is the study
# over five seeds and three numbers of labels.
