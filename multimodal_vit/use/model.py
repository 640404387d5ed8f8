"""A trained model: asked about pictures and texts of one's own, or about arrays."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from scipy import special

from multimodal_vit.about_data import AboutData
from multimodal_vit.errors import UserError, hint
from multimodal_vit.models import example_inputs
from multimodal_vit.objectives import Objective, match_logit
from multimodal_vit.pictures.fitting import FITS, fit
from multimodal_vit.pictures.reading import Picture, is_picture, read
from multimodal_vit.probes.maps import attention_maps, patch_grid
from multimodal_vit.sampler import Task, paste
from multimodal_vit.use.answers import Attention, Prediction, of_pair
from multimodal_vit.use.words import labels_of

AT_ONCE = 256  # pairs that are answered in one call; fewer are filled up to a power of two


class Model:
    """A trained model; `multimodal_vit.load` gives one.

    Attributes:
      config: the configuration that it was trained with.
      about: what it knows of its data: class names, shapes, what pictures look like.
      objective: the model's module and what it was trained for.
      variables: its parameters and what is kept beside them, in host memory.
      origin: where it comes from, for people.
    """

    def __init__(
        self,
        config: ConfigDict,
        about: AboutData,
        objective: Objective,
        variables: dict[str, Any],
        origin: str,
    ) -> None:
        self.config, self.about, self.objective = config, about, objective
        self.variables, self.origin = variables, origin

    def __repr__(self) -> str:
        rows, columns = self.task.grid
        return f"<Model of {self.origin}: {rows}×{columns} images, {len(self.class_names)} classes>"

    @property
    def task(self) -> Task:
        """The task that it was trained on."""
        return self.objective.task

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K names, which are the words that it knows."""
        return self.about.class_names

    @property
    def reads(self) -> set[str]:
        """The inputs that it reads, of "image", "words" and "audio"."""
        return {embedding.reads for embedding in self.objective.model.embeddings.values()}

    def predict(
        self,
        images: Any,
        texts: Any = None,
        *,
        fit: str = "auto",
        attention: bool = False,
    ) -> list[Prediction]:
        """Asks whether texts name images in reading order.

        Args:
          images: of each pair its n pictures, in reading order, or one picture that has them
            pasted. A picture is a path, a PIL image, or an array [h, w] or [h, w, C] (uint8, or
            0 to 1). Where `texts` is one text, those of one pair.
          texts: of each pair a text, such as "3 1 4 1", or its words; or one text. A model that
            reads no text needs none.
          fit: "auto" makes each picture look like those of the training: docs/use.md says how;
            "plain" only resizes it.
          attention: whether the answers tell where the model looked.

        Returns:
          A prediction for each pair.

        Raises:
          UserError: a picture that cannot be read or shows nothing, an unknown word, another number
            of pictures or words, or a model that reads sound or returns no attention.
        """
        inputs = self.inputs(images, texts, fit=fit)
        logits = self.logits(inputs)
        looked: Sequence[Attention | None] = [None] * len(logits)
        if attention:
            whole = self._attention(inputs)
            looked = [of_pair(whole, i) for i in range(len(logits))]
        num_classes = self.task.num_classes
        if self.task.classifies:
            true, classes = None, special.softmax(logits[:, -num_classes:], axis=1)
        else:
            true = special.expit(np.asarray(match_logit(logits, num_classes), np.float64))
            has_classes = logits.shape[1] >= num_classes
            shown = logits[:, -num_classes:] if has_classes else np.zeros((len(logits), 0))
            classes = special.expit(shown.astype(np.float64))
        return [
            Prediction(
                None if true is None else float(true[i]),
                dict(zip(self.class_names, classes[i].tolist(), strict=classes.shape[1] > 0)),
                inputs["image"][i],
                tuple(self.class_names[word] for word in inputs["words"][i]) if texts else (),
                looked[i],
            )
            for i in range(len(logits))
        ]

    def attention(self, images: Any, texts: Any, *, fit: str = "auto") -> Attention:
        """Where the model looks; `.plot()` draws it. The arguments are those of `predict`.

        Raises:
          UserError: as `predict`.
        """
        return self._attention(self.inputs(images, texts, fit=fit))

    def logits(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The model's answers to arrays as it was trained on.

        Args:
          inputs: "image" uint8 [B, H, W, C], pasted, and "words" int32 [B, n]; of a model that
            hears also "audio" float32 [B, n, F, C] and "present" bool [B, 3].

        Returns:
          float32 [B, U]: one true/false logit (or two), then one for each class.

        Raises:
          UserError: an input that is missing.
        """
        if missing := self.reads - inputs.keys():
            raise UserError(f"the model reads {', '.join(sorted(missing))} too; give it by name")
        return self._in_parts(self._answer, inputs)

    def inputs(self, images: Any, texts: Any = None, *, fit: str = "auto") -> dict[str, np.ndarray]:
        """Pictures and texts as the arrays that `logits` takes; see `predict`."""
        if fit not in FITS:
            raise UserError(f"fit={fit!r} is not one of {', '.join(FITS)}{hint(fit, FITS)}")
        if "audio" in self.reads:
            raise UserError(
                "the model hears recordings, which pictures and texts do not have; give arrays to "
                "model.logits (docs/audio.md)"
            )
        if isinstance(texts, str):
            pairs, texts = [images], [texts]
        else:
            pairs = list(images)
            texts = None if texts is None else list(texts)
        if texts is None and "words" in self.reads:
            raise UserError("the model reads a text too; give one with the images")
        if not pairs:
            raise UserError("there are no images; give those of one pair at least")
        if texts is not None and len(texts) != len(pairs):
            raise UserError(
                f"there are {len(pairs)} grids of images and {len(texts)} texts; give one text for "
                "each"
            )
        n = self.task.num_positions
        words = [labels_of(text, self.class_names, n) for text in texts or []]
        grids = [self._pasted(pair, fit, f"pair {i + 1}") for i, pair in enumerate(pairs)]
        return {
            "image": np.stack(grids),
            "words": np.array(words or np.zeros((len(pairs), n)), np.int32),
        }

    def _pasted(self, pair: Any, how: str, name: str) -> np.ndarray:
        """The pictures of one pair, fitted, as one: uint8 [H, W, C]."""
        (rows, columns), n = self.task.grid, self.task.num_positions
        if is_picture(pair) and n > 1:
            whole = read(pair, f"the picture of {name}")
            if whole.shape[0] < rows or whole.shape[1] < columns:
                raise UserError(
                    f"the picture of {name} is {whole.shape[1]}×{whole.shape[0]} pixels; it must "
                    f"hold {rows}×{columns} images"
                )
            pictures = [
                cell
                for band in np.array_split(whole, rows, axis=0)
                for cell in np.array_split(band, columns, axis=1)
            ]
        else:
            pictures = [pair] if is_picture(pair) else list(pair)
            if len(pictures) != n:
                raise UserError(
                    f"{name} has {len(pictures)} images; the model reads {n}, in {rows} rows of "
                    f"{columns} (or one picture that has all of them)"
                )
        fitted = [
            self._fitted(picture, how, f"image {i + 1} of {name}")
            for i, picture in enumerate(pictures)
        ]
        return paste(np.stack(fitted)[None], self.task.grid)[0]

    def _fitted(self, picture: Picture, how: str, name: str) -> np.ndarray:
        name = str(picture) if isinstance(picture, str) else name
        return fit(read(picture, name), self.about.appearance, self.task.image_shape, how, name)

    @functools.cached_property
    def _answer(self) -> Any:
        return jax.jit(lambda inputs: self.objective.verdict(self.variables, inputs))

    @functools.cached_property
    def _look(self) -> Any:
        return jax.jit(lambda inputs: attention_maps(self.objective, self.variables, inputs))

    def _attention(self, inputs: Mapping[str, np.ndarray]) -> Attention:
        patches = patch_grid(self.objective.model, self.task)
        if patches is None or not self.returns_attention:
            raise UserError(
                f"the model ({self.config.model.fusion!r} of "
                f"{', '.join(self.config.model.modalities)}) returns no attention between words "
                "and patches"
            )
        maps = self._in_parts(self._look, inputs)
        return Attention(
            inputs["image"],
            inputs["words"],
            maps.word_to_patch,
            maps.patch_to_word,
            maps.rollout,
            patches,
            self.task.grid,
            self.class_names,
        )

    @functools.cached_property
    def returns_attention(self) -> bool:
        """Whether it returns where words look among patches."""
        counted: dict[str, bool] = {}

        def ask(inputs: Mapping[str, Any]) -> None:  # traced, so that nothing is computed
            _, found = self.objective.model.apply(self.variables, inputs, return_attention=True)
            layers = len(found.get("attention_weights", ())) - bool(found.get("readout"))
            counted["any"] = layers > 0 and {"words", "patches"} <= found.get("spans", {}).keys()

        jax.eval_shape(ask, example_inputs(self.task))
        return counted["any"]

    def _in_parts(self, function: Any, inputs: Mapping[str, np.ndarray]) -> Any:
        """A function's answers to any number of pairs, with few sizes that are compiled."""
        total, found = len(next(iter(inputs.values()))), []
        for start in range(0, total, AT_ONCE):
            part = {name: jnp.asarray(x[start : start + AT_ONCE]) for name, x in inputs.items()}
            count = len(next(iter(part.values())))
            size = 1 << (count - 1).bit_length()
            filled = {
                name: jnp.concatenate([x, jnp.repeat(x[:1], size - count, axis=0)])
                for name, x in part.items()
            }
            found.append(jax.tree.map(lambda x, n=count: np.asarray(x)[:n], function(filled)))
        return jax.tree.map(lambda *parts: np.concatenate(parts), *found)
