"""SoftLoss: one soft loss with its options and what it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Of student logits [B, C], teacher logits [B, C] and labels int64 [B]; returns the mean over the batch, a scalar.
LossFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class SoftLoss:
    """A function of (student logits, teacher logits, labels, options) and its traits.

    `reads_labels`: it cannot be used where labels are withheld. `compares_images`: it compares the images of a batch
    with each other, so it has no value for one image. `needs_logits`: a teacher that elects one class does not serve.
    """

    function: Callable[..., Tensor]
    reads_labels: bool = False
    compares_images: bool = False
    needs_logits: bool = False
    options: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name in configurations: that of the function."""
        return self.function.__name__

    def __call__(self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean over the batch, a float32 scalar, from logits [B, C] and labels int64 [B]."""
        return self.function(student_logits, teacher_logits, labels, **self.options)


def per_image(loss: LossFunction, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the loss of each image alone, [B], from logits [B, C] and labels int64 [B].

    Raises ValueError for a loss that compares the images of a batch, and when the shapes of the logits differ.
    """
    if isinstance(loss, SoftLoss) and loss.compares_images:
        raise ValueError(f"loss '{loss.name}' compares the images of a batch and cannot weight each: choose 'kl'")
    check_shapes(student_logits, teacher_logits)
    alone = torch.vmap(lambda student, teacher, label: loss(student[None], teacher[None], label[None]))
    each: Tensor = alone(student_logits, teacher_logits, labels)
    return each


def check_shapes(student_logits: Tensor, teacher_logits: Tensor) -> None:
    """Raise ValueError unless both are [B, C] of one shape: torch would broadcast a teacher of [B, 1] silently."""
    if student_logits.ndim != 2 or student_logits.shape != teacher_logits.shape:
        shapes = f"{list(student_logits.shape)} and {list(teacher_logits.shape)}"
        raise ValueError(f"student and teacher logits must both be [batch, classes], got {shapes}")
