"""Linear probes: what a frozen model's outputs tell a linear classifier."""

import warnings
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from multimodal_vit.errors import UserError
from multimodal_vit.models import MultimodalViT
from multimodal_vit.objectives import Keys
from multimodal_vit.probes.maps import patch_grid, quadrant_overlap
from multimodal_vit.readouts.pairs import Grids, draw_grids, in_batches
from multimodal_vit.sampler import cells
from multimodal_vit.train.experiment import Experiment

GRIDS = {"train": 1_000, "validation": 250, "test": 500}  # four times as many quadrants
STRENGTHS = (0.01, 1.0)  # C of the regression; validation grids choose
MOST_STEPS = 100


def features(experiment: Experiment, variables: Any, image: np.ndarray) -> dict[str, np.ndarray]:
    """What a model makes of images without their texts: float32 [N, …].

    Returns:
      "quadrants" [N, n, D], the mean of the output tokens of each quadrant; "summary" [N, D].

    Raises:
      UserError: the model cannot read an image alone, or has no image tokens.
    """
    objective, task = experiment.objective, experiment.task
    patches = patch_grid(experiment.model, task)
    if patches is None or not experiment.model.fusion.takes_kept:
        raise UserError("the model cannot be told to read an image without its text")
    overlap = quadrant_overlap(patches, task.grid)
    overlap = overlap / overlap.sum(axis=0)  # (P, n)

    @jax.jit
    def read(image: jax.Array) -> dict[str, jax.Array]:
        words = jnp.zeros((len(image), task.num_positions), jnp.int32)
        inputs = {"image": image, "words": words}
        none = {"words": jnp.zeros((len(image), 0), jnp.int32)}
        none = none if "words" in experiment.model.embeddings else {}

        def alone(model: MultimodalViT) -> Any:
            return model.fuse(model.embed(inputs), none)

        (summary, found), _ = objective.ask(variables, alone, Keys(), False)
        tokens = found["tokens"]["patches"].astype(jnp.float32)
        quadrants = jnp.einsum("bpd,pn->bnd", tokens, overlap)
        return {"quadrants": quadrants, "summary": summary.astype(jnp.float32)}

    return in_batches(read, experiment.config.evaluation.batch_size, image)


def _pixels(image: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The pixels of each quadrant, float32 [N, n, H·W·C]."""
    parts = cells(image, grid)
    return parts.reshape(*parts.shape[:2], -1).astype(np.float32) / 255


def accuracy(x: Mapping[str, np.ndarray], y: Mapping[str, np.ndarray]) -> float:
    """Of a logistic regression on standardised features; validation chooses its strength.

    Args:
      x: float [N, F] of "train", "validation" and "test".
      y: int [N] of each.
    """
    best, model = -1.0, None
    for strength in STRENGTHS:
        regression = LogisticRegression(C=strength, max_iter=MOST_STEPS)
        candidate = make_pipeline(StandardScaler(), regression)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            candidate.fit(x["train"], y["train"])
        score = candidate.score(x["validation"], y["validation"])
        if score > best:
            best, model = score, candidate
    assert model is not None
    return float(model.score(x["test"], y["test"]))


def linear_probe(experiment: Experiment, variables: Any) -> dict[str, Any]:
    """How often a linear classifier names the classes from a frozen model's outputs.

    Which outputs are probed is fixed: the fusion's. Beside them stand the same of a model of random
    parameters (the run's own first ones) and the pixels.

    Returns:
      "quadrant", the class of a quadrant from its own tokens, and "quadrant_random",
      "quadrant_pixels"; "summary", the class of the first quadrant from the summary, and
      "summary_random"; "num_grids", those of the training.

    Raises:
      UserError: the model cannot read an image alone.
    """
    drawn: dict[str, Grids] = {
        part: draw_grids(experiment, part, count) for part, count in GRIDS.items()
    }
    first = experiment.init_state().variables
    found = {
        name: {part: features(experiment, own, grids.image) for part, grids in drawn.items()}
        for name, own in (("", variables), ("_random", first))
    }

    def flat(part: np.ndarray) -> np.ndarray:
        return part.reshape(-1, part.shape[-1])

    each = {part: grids.labels.reshape(-1) for part, grids in drawn.items()}
    one = {part: grids.labels[:, 0] for part, grids in drawn.items()}
    grid = experiment.task.grid
    pixels = {part: flat(_pixels(grids.image, grid)) for part, grids in drawn.items()}
    result: dict[str, Any] = {"num_grids": GRIDS["train"]}
    for name, own in found.items():
        quadrants = {part: flat(f["quadrants"]) for part, f in own.items()}
        result[f"quadrant{name}"] = accuracy(quadrants, each)
        result[f"summary{name}"] = accuracy({part: f["summary"] for part, f in own.items()}, one)
    result["quadrant_pixels"] = accuracy(pixels, each)
    return result
