"""Formats of exported networks: a file as bytes, and what predicts from it."""

from __future__ import annotations

import importlib.util
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from knowledge_transfer.learning.models.exported import as_file, exported
from knowledge_transfer.learning.models.external import in_one_line


class Exported(NamedTuple):
    """The content of a file, its suffix, and how it predicts: uint8 [N, C, H, W] to probabilities [N, classes]."""

    content: bytes
    suffix: str
    predict: Callable[[Tensor], Tensor]


def require(kind: str) -> None:
    """Raise ValueError, saying what to install, when this format cannot be written here."""
    for name in ("onnx", "onnxscript", "onnxruntime") if kind == "onnx" else ():
        if importlib.util.find_spec(name) is None:
            raise ValueError(f'format onnx needs {name}: pip install -e ".[export]", or --params format=torch')


def export(module: nn.Module, shape: Sequence[int], facts: Mapping[str, Any], kind: str) -> Exported:
    """Return a network for images of `shape` [C, H, W] and any batch size as a file of that kind, with its facts."""
    try:
        return (_onnx if kind == "onnx" else _torch)(exported(module, shape), facts)
    except Exception as error:  # torch raises many kinds for a graph that it cannot follow
        raise ValueError(f"{facts['model']} cannot be exported as {kind}: {in_one_line(error)}") from error


def _torch(program: torch.export.ExportedProgram, facts: Mapping[str, Any]) -> Exported:
    content = as_file(program, facts)
    again = torch.export.load(io.BytesIO(content)).module()
    return Exported(content, ".pt2", torch.inference_mode()(again))


def _onnx(program: torch.export.ExportedProgram, facts: Mapping[str, Any]) -> Exported:
    import onnxruntime

    made = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=["pixels"], output_names=["probabilities"]
    )
    if made is None:
        raise ValueError("torch wrote no ONNX model")
    made.model.metadata_props.update({name: json.dumps(value) for name, value in facts.items()})
    content = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def predict(pixels: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])

    return Exported(content, ".onnx", predict)
