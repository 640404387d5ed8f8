"""How well a trained model reads photograph-like pictures of its own test images.

Each test image is drawn larger, off the middle of grey paper with a margin, dark on light or light
on dark, with some grain; the model is asked about pairs of such pictures, resized as they are and
fitted (docs/use.md), and about the same pairs of its own arrays.

    python benchmarks/photographs.py --workdir=runs/digits_conv
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from multimodal_vit import config as configuration
from multimodal_vit import load
from multimodal_vit.data import load_splits
from multimodal_vit.intervals import share


def photograph(image: np.ndarray, rng: np.random.Generator, dark_ink: bool) -> Image.Image:
    """An image of light ink on black, uint8 [H, W, 1], as a larger picture on grey paper."""
    side = int(rng.integers(50, 150))
    ink = np.asarray(Image.fromarray(image[..., 0]).resize((side, side), Image.BICUBIC)) / 255.0
    ink = np.pad(ink, rng.integers(side // 5, side, (2, 2)))
    paper = rng.uniform(0.6, 0.9) if dark_ink else rng.uniform(0.1, 0.4)
    pen = rng.uniform(0.0, 0.2) if dark_ink else rng.uniform(0.8, 1.0)
    tones = paper + (pen - paper) * ink + rng.normal(0, 0.01, ink.shape)
    return Image.fromarray(np.round(np.clip(tones, 0, 1) * 255).astype(np.uint8))


def main() -> None:
    """Prints the accuracies, with 95 % intervals by image."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=600)
    settings = parser.parse_args()
    model = load(settings.workdir)
    test = load_splits(*configuration.data_arguments(model.config)).test
    rng, n = np.random.default_rng(0), model.task.num_positions
    chosen = rng.integers(len(test), size=(settings.pairs, n))
    words = test.labels[chosen]
    match = rng.random(settings.pairs) < 0.5
    for i in np.flatnonzero(~match):  # one word is another
        place = rng.integers(n)
        words[i, place] = (words[i, place] + rng.integers(1, len(model.class_names))) % len(
            model.class_names
        )
    texts = [[model.class_names[word] for word in text] for text in words]
    pictures = [
        [photograph(test.images[j], rng, bool(rng.random() < 0.5)) for j in pair] for pair in chosen
    ]
    cases = {
        "the data's own arrays": (list(test.images[chosen]), "auto"),
        "photographs, resized": (pictures, "plain"),
        "photographs, fitted": (pictures, "auto"),
    }
    print(f"{settings.pairs} pairs of test images, half of them with one word replaced")
    for name, (images, fit) in cases.items():
        true = np.array([found.true for found in model.predict(images, texts, fit=fit)])
        value, (low, high) = share((true > 0.5) == match, chosen)
        print(f"{name:24s} {value:.1%} ({low:.1%} – {high:.1%})")


if __name__ == "__main__":
    main()
