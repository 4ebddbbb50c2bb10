"""What a recipe makes of a network's parameters: their optimizer and their moving average."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from knowledge_transfer.learning.recipe import Recipe


def optimizer_of(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; biases and normalisation are not decayed (He 2019, "bag of tricks")."""
    decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    free = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.momentum, 0.999))
    nesterov = recipe.nesterov and recipe.momentum > 0
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov)


def average_of(network: nn.Module, recipe: Recipe) -> AveragedModel | None:
    """Return the moving average of the network's weights; none where the recipe asks for none."""
    if recipe.ema is None:
        return None
    # The running statistics of batch normalisation belong to the weights that made them, so they are averaged too.
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=True)
