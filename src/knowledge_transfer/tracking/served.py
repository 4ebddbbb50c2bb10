"""A registered model as MLflow serves it, which needs a copy of this file and of `pixels.py`, and no other."""

import base64
import io
import json
from typing import Any

import mlflow
import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from PIL import Image

_ASKED = "send uint8 pixels as they are stored, or images in base64"


class ServedModel(mlflow.pyfunc.PythonModel):
    """Answers with the name of the likeliest class, its probability, and the probability of every class."""

    def load_context(self, context: Any) -> None:
        """Read the exported network and its classes."""
        from pixels import prepared  # type: ignore[import-not-found]  # the copy, which lies on the path by now

        facts = {"facts.json": ""}
        self._network = torch.export.load(context.artifacts["network"], extra_files=facts).module()
        known = json.loads(facts["facts.json"])
        self._classes, self._shape, self._prepared = known["class_names"], known["shape"], prepared

    # A list or a table as well: of any other hint MLflow warns that it cannot infer a signature.
    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> list[dict[str, Any]]:  # noqa: ARG002
        """Return an answer for each image.

        `model_input` are whole numbers 0 to 255 [N, C, H, W], or base64 of image files, in a list, an array or a table
        of one column. Raises MlflowException in one line for anything else.
        """
        pixels = torch.from_numpy(self._pixels(_array(model_input)))
        with torch.inference_mode():
            probabilities = self._network(pixels)
        return [self._answer(row) for row in probabilities.tolist()]

    def _pixels(self, given: np.ndarray) -> np.ndarray:
        if given.dtype.kind in "US":
            texts = given.astype(str) if given.dtype.kind == "S" else given
            return np.stack([self._decoded(str(text)) for text in texts.ravel()])
        if given.dtype.kind not in "ui" or given.size == 0:
            raise _refusal(f"these are {given.dtype}, not whole numbers from 0 to 255: {_ASKED}")
        if list(given.shape[1:]) != self._shape:
            raise _refusal(
                f"this model takes pixels of {['images', *self._shape]}, these are {list(given.shape)}: {_ASKED}"
            )
        if given.min() < 0 or given.max() > 255:
            raise _refusal(f"pixels are from 0 to 255, these from {given.min()} to {given.max()}")
        return given.astype(np.uint8)

    def _decoded(self, text: str) -> np.ndarray:
        try:
            image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)))
            return self._prepared(image, grey=self._shape[0] == 1, size=self._shape[1])
        except Exception as error:  # Pillow's decoders raise many kinds
            raise _refusal(f"an image cannot be read ({error}): {_ASKED}") from error

    def _answer(self, probabilities: list[float]) -> dict[str, Any]:
        named = dict(sorted(zip(self._classes, probabilities, strict=True), key=lambda pair: -pair[1]))
        name = next(iter(named))
        return {"class": name, "probability": named[name], "probabilities": named}


def _array(given: Any) -> np.ndarray:
    """Return an array of what a server or `mlflow.pyfunc` hands over."""
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    found = np.asarray(given)
    if found.dtype.kind != "O":
        return found
    return np.asarray(
        [str(each) for each in found.ravel()] if all(isinstance(each, str) for each in found.ravel()) else found
    )


def _refusal(why: str) -> MlflowException:
    return MlflowException(why, error_code=INVALID_PARAMETER_VALUE)


mlflow.models.set_model(ServedModel())
