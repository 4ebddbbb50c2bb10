"""Formats of exported networks: a file as bytes, and what predicts from it."""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_EXAMPLES = 2  # torch.export would fix the batch size at one


class Exported(NamedTuple):
    """The content of a file, its suffix, and how it predicts: uint8 [N, C, H, W] to probabilities [N, classes]."""

    content: bytes
    suffix: str
    predict: Callable[[Tensor], Tensor]


class Probabilities(nn.Module):
    """The mean probabilities of networks, which take pixels as they are stored."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return probabilities [B, classes] of pixels 0 … 255, uint8 [B, C, H, W]."""
        return torch.stack([network(pixels).softmax(1) for network in self.networks]).mean(0)


def require(kind: str) -> None:
    """Raise ValueError, saying what to install, when this format cannot be written here."""
    for name in ("onnx", "onnxscript", "onnxruntime") if kind == "onnx" else ():
        if importlib.util.find_spec(name) is None:
            raise ValueError(f'format onnx needs {name}: pip install -e ".[export]", or --params format=torch')


def export(module: nn.Module, shape: Sequence[int], facts: Mapping[str, Any], kind: str) -> Exported:
    """Return a network for images of `shape` [C, H, W] and any batch size as a file of that kind, with its facts."""
    pixels = torch.zeros(_EXAMPLES, *shape, dtype=torch.uint8)
    sizes = ({0: torch.export.Dim("images")},)
    program = torch.export.export(module.eval(), (pixels,), dynamic_shapes=sizes)
    return (_onnx if kind == "onnx" else _torch)(program, facts)


def _torch(program: torch.export.ExportedProgram, facts: Mapping[str, Any]) -> Exported:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={"facts.json": json.dumps(facts)})
    again = torch.export.load(io.BytesIO(buffer.getvalue())).module()
    return Exported(buffer.getvalue(), ".pt2", torch.inference_mode()(again))


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
    return Exported(content, ".onnx", lambda pixels: torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0]))
