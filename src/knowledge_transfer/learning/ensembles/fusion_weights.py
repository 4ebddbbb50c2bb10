"""Weights of the fusion rules that are fitted on validation.

Each fit takes the members' `logits` [M, N, C] on validation images and their `labels` int64 [N]. It returns a tensor
[M, ...]: a weight or a layer for each member. Raises ValueError when the shapes do not fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Prior standard deviation of a stacked weight about the mean of logits. On held-out training images of the digits and
# of Fashion-MNIST 0.01 to 0.1 are equally good, and above 0.3 validation sets of 600 images are overfitted.
_SPREAD = 0.03
_ITERATIONS = 500
_ROUNDING = 1e-9


def validation_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the weights float32 [M], none negative, summing to 1, of least NLL of the weighted mean of probabilities.

    The NLL is convex in the weights; expectation-maximisation for mixture proportions never increases it, from equal
    weights on. The result is within 1e-6 nats of the least NLL, or what 10,000 steps reach.
    """
    _check(logits, labels)
    columns = labels.expand(len(logits), -1).unsqueeze(2)
    right = logits.double().softmax(dim=2).gather(2, columns).squeeze(2).clamp(min=torch.finfo(torch.float64).tiny)
    weights = torch.full_like(right[:, 0], 1 / len(right))
    for _ in range(10_000):
        gain = (right / (weights @ right)).mean(dim=1)
        # The log of the largest gain bounds the distance to the optimum (Cover 1984).
        if gain.max() < 1 + 1e-6:
            break
        weights = weights * gain
    return (weights / weights.sum()).float()


def boosting_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the `member_weight` of each member, float32 [M]."""
    _check(logits, labels)
    errors = (logits.argmax(dim=2) != labels).double().mean(dim=1).tolist()
    return torch.tensor([member_weight(error, logits.shape[2], len(labels)) for error in errors])


def member_weight(error: float, classes: int, images: int) -> float:
    """Return SAMME's log((1 - e) / e) + log(K - 1), e the weighted error in [0, 1] among K classes (Zhu 2009).

    A member that is no better than a guess, e = 1 - 1/K, weighs 0. An error below half an image among `images`, all of
    one weight, counts as half an image: at 0 the formula has no value.
    """
    bounded = min(max(error, 0.5 / images), 1 - 0.5 / images)
    weight = math.log((1 - bounded) / bounded) + math.log(classes - 1)
    return weight if weight > _ROUNDING else 0.0


def stacking_layers(logits: Tensor, labels: Tensor) -> Tensor:
    """Return each member's weights, float32 [M, C + 1, C], in a softmax layer on all logits (Wolpert 1992).

    `stacked_logits` applies it. The layer minimises NLL plus half the sum of (w - w0)² / (N `_SPREAD`²), w0 the layer
    that takes the mean of the logits: the maximum a posteriori under normal weights about that mean. The penalty makes
    the optimum unique. Found by L-BFGS in float64.
    """
    _check(logits, labels)
    members, images, classes = logits.shape
    inputs = _inputs(logits.double())
    mean = torch.cat([torch.eye(classes), torch.zeros(1, classes)]).double().expand(members, -1, -1) / members
    layers = mean.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [layers], max_iter=_ITERATIONS, tolerance_grad=1e-7, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        optimizer.zero_grad()
        penalty = (layers - mean).square().sum() / (2 * images * _SPREAD**2)
        loss = F.cross_entropy(_apply(inputs, layers), labels) + penalty
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(objective)
    return layers.detach().float()


def temperatures(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the temperature of each member, float32 [M], at which the NLL of softmax(z/T) is least (Guo 2017).

    It is between 0.2 and 5: where no image is wrong, ever lower ones would have ever less NLL.
    """
    _check(logits, labels)
    scores = logits.double()
    right = scores.gather(2, labels.expand(len(scores), -1).unsqueeze(2)).squeeze(2).mean(dim=1)
    low, high = (torch.full_like(right, math.log(bound)) for bound in (1 / 5, 5))
    # The NLL is convex in 1/T, and its slope is the mean of E[z] under softmax(z/T) minus that of z of the label.
    for _ in range(50):
        middle = (low + high) / 2
        expected = ((scores * middle.exp().view(-1, 1, 1)).softmax(dim=2) * scores).sum(dim=2).mean(dim=1)
        is_beyond = expected > right
        low, high = torch.where(is_beyond, low, middle), torch.where(is_beyond, middle, high)
    return (-(low + high) / 2).exp().float()


def calibrated_weights(logits: Tensor, labels: Tensor) -> Tensor:
    """Return weight and temperature of each member, float32 [M, 2]: `validation_weights` of calibrated members."""
    each = temperatures(logits, labels)
    return torch.stack([validation_weights(logits / each.view(-1, 1, 1), labels), each], dim=1)


FITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "weighted": validation_weights,
    "calibrated": calibrated_weights,
    "boosted": boosting_weights,
    "stacked": stacking_layers,
}
FITTED_RULES = tuple(FITS)
RESCALED_RULES = frozenset({"weighted"})  # whose weights, of some members as of all, are scaled to sum to 1
JOINT_RULES = frozenset({"stacked"})  # whose weights hold for all members together, not for some of them


def stacked_logits(logits: Tensor, layers: Tensor) -> Tensor:
    """Return the logits [B, C] of `layers` [M, C + 1, C] on the members' `logits` [M, B, C]."""
    return _apply(_inputs(logits), layers)


def _inputs(logits: Tensor) -> Tensor:
    """Return [M, B, C + 1]: logits without the shift that no probability depends on, and a one for the bias."""
    return F.pad(logits - logits.mean(dim=2, keepdim=True), (0, 1), value=1.0)


def _apply(inputs: Tensor, layers: Tensor) -> Tensor:
    return torch.einsum("mbi,mic->bc", inputs, layers)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 3 or not logits.numel() or labels.shape != logits.shape[1:2]:
        raise ValueError(f"logits {list(logits.shape)} and labels {list(labels.shape)}, not [M, N, C] and [N]")
