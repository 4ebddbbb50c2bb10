"""How a recipe changes a network's weights: optimizer, learning rate schedule and moving average."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from knowledge_transfer.learning.hardware import has_native_bf16
from knowledge_transfer.learning.training.recipe import Recipe


class _Orthogonal(torch.optim.Optimizer):
    """The half of Muon that updates matrices, as torch.optim.Muon does, but in float32 where bfloat16 is emulated.

    There torch's takes many times as long as the rest of a step ("Fewer steps" in docs/results.md). A convolution's
    weight is taken for a matrix with a row for each output.
    """

    _COEFFICIENTS = 3.4445, -4.775, 2.0315  # of the quintic iteration (Jordan 2024)

    def __init__(self, weights: list[nn.Parameter], recipe: Recipe) -> None:
        super().__init__([{"params": weights}], {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay})
        self._momentum, self._nesterov = recipe.momentum, recipe.nesterov

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight.grad)
                average = self.state[weight]["momentum_buffer"]
                average.lerp_(weight.grad, 1 - self._momentum)
                update = weight.grad.lerp(average, self._momentum) if self._nesterov else average
                matrix = _matrix(weight, weight)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                size = 0.2 * math.sqrt(max(matrix.shape))
                matrix.add_(self._orthogonal(_matrix(update, weight)), alpha=-group["lr"] * size)

    def _orthogonal(self, matrix: Tensor) -> Tensor:
        """Return about the nearest orthogonal matrix: singular values between 0.7 and 1.2 (Jordan 2024)."""
        a, b, c = self._COEFFICIENTS
        is_tall = matrix.shape[0] > matrix.shape[1]
        wide = (matrix.T if is_tall else matrix).to(torch.bfloat16 if has_native_bf16(matrix.device) else torch.float32)
        wide = wide / wide.norm().clamp(min=1e-7)
        for _ in range(5):
            gram = wide @ wide.T
            wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
        return (wide.T if is_tall else wide).to(matrix.dtype)


class _Muon:
    """Muon for the weights of convolutions and hidden linear layers, AdamW at the same rate for all others.

    The momentum of a weight, as a matrix of a row per output, is replaced by the nearest orthogonal one (Jordan 2024,
    kellerjordan.github.io/posts/muon). Steps are scaled to the size of AdamW's, 0.2 sqrt(max(rows, columns)) (Liu 2025,
    arXiv 2502.16982): one learning rate and one decoupled weight decay serve both.
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        layers = [each for each in network.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
        linear = [id(each.weight) for each in layers if isinstance(each, nn.Linear)]
        own = {id(each.weight) for each in layers} - {*linear[-1:]}
        learning = [p for p in network.parameters() if p.requires_grad]
        weights = [p for p in learning if id(p) in own]
        rest = [p for p in learning if id(p) not in own]
        self._muon = _Orthogonal(weights, recipe)
        self._adam = torch.optim.AdamW(_decayed(rest, recipe), lr=recipe.learning_rate, fused=True)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [*self._muon.param_groups, *self._adam.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        self._muon.zero_grad(set_to_none)
        self._adam.zero_grad(set_to_none)

    def step(self) -> None:
        self._muon.step()
        self._adam.step()

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self._muon.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self._muon.load_state_dict(state_dict["muon"])
        self._adam.load_state_dict(state_dict["adam"])


def _matrix(values: Tensor, weight: Tensor) -> Tensor:
    """Return a weight's values as [outputs, all else] in the order of its memory: of the weight itself, a view."""
    last = weight.movedim(1, -1)
    return (values.movedim(1, -1) if last.is_contiguous() else values).flatten(1)


def _decayed(parameters: list[nn.Parameter], recipe: Recipe) -> list[dict[str, Any]]:
    """Return parameters in two groups: biases and normalisation are not decayed (He 2019, "bag of tricks")."""
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer | _Muon:
    """Return the recipe's optimizer."""
    if recipe.optimizer == "muon":
        return _Muon(network, recipe)
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups, rate = _decayed(learning, recipe), recipe.learning_rate
    # Fused: one pass over the weights instead of four or more, which shows in networks of millions of them.
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(recipe.momentum, 0.999), fused=True)
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=nesterov, fused=True)


def rate_factor(step: int, steps: int, schedule: Literal["linear", "cosine", "constant"], warmup: float) -> float:
    """Return the factor of the learning rate, in (0, 1], for `step` of `steps`, counted from 0.

    All rise linearly over the first `warmup` (a fraction) of the steps. Then linear falls linearly towards zero (Smith
    2018), cosine falls along half a wave (Loshchilov 2017), constant stays.
    """
    rising = warmup * steps
    if step < rising:
        return (step + 1) / (rising + 1)
    progress = (step - rising) / max(1.0, steps - rising)
    if schedule == "linear":
        return 1 - progress
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


class Updater:
    """Changes a network's weights by the gradients of its loss; `clip` scales these to a largest norm."""

    def __init__(
        self, network: nn.Module, recipe: Recipe, steps: int, clip: Callable[[float], object] | None = None
    ) -> None:
        self.network, self.recipe, self.steps = network, recipe, steps
        self.clip = clip or partial(nn.utils.clip_grad_norm_, list(network.parameters()))
        self.optimizer = optimizer_of(network, recipe)
        self.average: AveragedModel | None = None
        if recipe.ema is not None:
            # With the statistics of batch normalisation, which belong to the weights that made them.
            self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)

    @property
    def rate(self) -> float:
        """The learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def evaluated_network(self) -> nn.Module:
        """The network whose weights count: the moving average where the recipe has one."""
        return self.network if self.average is None else self.average.module

    def update(self, loss: Tensor, step: int) -> None:
        """Change the weights by the gradient of `loss`, a scalar, at the learning rate of `step`, counted from 0."""
        recipe = self.recipe
        factor = rate_factor(step, self.steps, recipe.schedule, recipe.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.gradient_clip is not None:
            self.clip(recipe.gradient_clip)
        self.optimizer.step()
        if self.average is not None:
            self.average.update_parameters(self.network)

    def state(self) -> dict[str, Any]:
        """Return what the next update depends on, without the network's weights."""
        average = None if self.average is None else self.average.state_dict()
        return {"optimizer": self.optimizer.state_dict(), "average": average}

    def load_state(self, state: dict[str, Any]) -> None:
        """Load a state returned by `state()`."""
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
