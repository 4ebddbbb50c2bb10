"""Networks as exported graphs, which torch alone reads and runs, without this package and without a pickle."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

FACTS = "facts.json"  # beside the graph: model, class_names, shape
_EXAMPLES = 2  # torch.export would fix the batch size at one


class Probabilities(nn.Module):
    """The mean probabilities of networks, which take pixels as they are stored."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return probabilities [B, classes] of pixels 0 … 255, uint8 [B, C, H, W]."""
        return torch.stack([network(pixels).softmax(1) for network in self.networks]).mean(0)


def exported(module: nn.Module, shape: Sequence[int]) -> torch.export.ExportedProgram:
    """Return the graph of a module in eval mode, for uint8 images of `shape` [C, H, W] and any batch size."""
    pixels = torch.zeros(_EXAMPLES, *shape, dtype=torch.uint8)
    return torch.export.export(module.eval(), (pixels,), dynamic_shapes=({0: torch.export.Dim("images")},))


def as_file(program: torch.export.ExportedProgram, facts: Mapping[str, Any]) -> bytes:
    """Return the content of a .pt2 file of the graph, with facts as JSON beside it."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS: json.dumps(facts)})
    return buffer.getvalue()
