# %% [markdown]
# # What does it use?
#
# Four images stand in a grid, and a text of four words names them. Is the text true? Two models of
# the same size answer, trained on equally many pairs. One accuracy says little about what they
# read, so both are asked. Three minutes on a laptop.

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
# How long each trains.
import os

PAIRS = int(os.environ.get("NOTEBOOK_PAIRS", 60_000))  # of a grid of four digits and a text
DATA = os.environ.get("NOTEBOOK_DATA", "varied_digits")  # or "digits": each once, as a quick test

# %% [markdown]
# ## Two models
#
# The handwritten digits come with scikit-learn. `binary_cross_entropy` learns to tell true texts
# from false ones. `masked_labels` sees true texts alone: some words are hidden, and it learns to
# name them from the image.

# %%
from rich.console import Console

from multimodal_vit.commands import run_train
from multimodal_vit.config import changed, from_file
from multimodal_vit.workdir import Workdir

OBJECTIVES = ("binary_cross_entropy", "masked_labels")
runs = {name: Workdir(f"runs/{name}") for name in OBJECTIVES}
for name, workdir in runs.items():
    config = changed(
        from_file("digits_conv"),
        {
            "data.name": DATA,
            "train.objective": name,
            "train.num_samples": PAIRS,
            "train.epochs_per_validation": 1,
            "evaluation.suites": ("single_foil", "count_foil", "order_foil"),
        },
    )
    run_train(config, workdir, Console(quiet=True))

# %% [markdown]
# ## The accuracy, and what it hides
#
# Of the false texts of this task one in two hundred has the right words in the wrong order. Who
# compares which words occur, and how often, is right on 99.75 % of all pairs. So the accuracy
# cannot show whether a model reads in order.
#
# Three **suites** of test pairs can. Half of the texts of each are true; the false ones
# (**foils**) differ in one thing: `single_foil` has one wrong word, `count_foil` the right words
# but not as often, `order_foil` the right words in another order. **AUROC** is how often a true
# text gets a higher score than a foil; chance is 0.5.

# %%
results = {name: workdir.results() for name, workdir in runs.items()}
print(f"{'':22}{'right':>8}{'single':>9}{'count':>9}{'order':>9}")
for name, found in results.items():
    suites = (found["suites"][f"{suite}_foil"]["auroc"] for suite in ("single", "count", "order"))
    accuracy = found["test"]["match_accuracy"]
    print(f"{name:22}{accuracy:8.1%}" + "".join(f"{auroc:9.3f}" for auroc in suites))

# %%
# In words, with intervals (95 %, over test images).
for name, found in results.items():
    print(f"{name}: {found['verdict']['sentence']}\n")

# %%
# As places on a scale.
from IPython.display import Image

from multimodal_vit.analysis import scale_figure

scales = {name: [found["verdict"]["scale"]] for name, found in results.items()}
scale_figure.strip(scales, {}).savefig("scale.png", dpi=110)
Image("scale.png", width=640)

# %% [markdown]
# ## The same by hand
#
# Four test digits, their true text, and the text with its first two words exchanged. A model that
# does not use the order gives both about the same score.

# %%
import multimodal_vit
from multimodal_vit.data import load_splits

test = load_splits("digits", DATA).test
chosen = [int((test.labels == label).argmax()) for label in (3, 1, 4, 2)]
pictures = [test.images[i] for i in chosen]
for name, workdir in runs.items():
    model = multimodal_vit.load(workdir.path)
    true, exchanged = model.predict([pictures] * 2, ["3 1 4 2", "1 3 4 2"])
    print(f"{name}: 3 1 4 2 is true with {true.true:.1%}, 1 3 4 2 with {exchanged.true:.1%}")

# %% [markdown]
# This is one seed of each. Whether the difference holds is a question for a [study](../studies.md)
# over several seeds; [Probes](../probes.md) has the formulas and the references. Next: [your own
# fusion](own_fusion.md).
