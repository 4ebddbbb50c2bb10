"""The page of predictions: every image with its likeliest classes, the most doubtful first."""

import base64
import io
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from PIL import Image

from knowledge_transfer.reporting.formats import percent
from knowledge_transfer.reporting.page import STYLE

_OWN = ("file", "class", "probability", "second", "second_probability", "third", "third_probability")


def compose_predictions(predictions: pd.DataFrame, pictures: np.ndarray, info: Mapping[str, Any]) -> str:
    """Return the page as HTML, from a table that `predict` made and uint8 `pictures` [rows, H, W, 3]."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__package__).joinpath("predictions.html.jinja").read_text("utf-8"))
    models = [name for name in predictions.columns if name not in _OWN]
    cards = [
        {
            "file": row["file"],
            "picture": _encoded(picture),
            "likeliest": _likeliest(row),
            "others": {name: row[name] for name in models if row[name] != row["class"]},
        }
        for (_, row), picture in zip(predictions.iterrows(), pictures, strict=True)
    ]
    accuracy = info["validation_accuracy"]
    return template.render(css=STYLE, cards=cards, info=info, accuracy=None if accuracy is None else percent(accuracy))


def _likeliest(row: pd.Series) -> list[tuple[str, str]]:
    named = [("class", "probability"), ("second", "second_probability"), ("third", "third_probability")]
    return [(str(row[name]), percent(float(row[probability]))) for name, probability in named if name in row]


def _encoded(picture: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()
