"""Soft losses: how far a student's logits are from its teacher's, each formula once, beside its source.

Every loss takes `student_logits` and `teacher_logits` [B, C], `labels` int64 [B] and a temperature. It returns the mean
over the batch, a float32 scalar; the gradient reaches the student alone. Raises ValueError when the shapes differ.
A new loss is a function here and one entry, with its traits, in `SOFT_LOSSES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.config import did_you_mean
from knowledge_transfer.learning.losses.soft_loss import SoftLoss, check_shapes


def kl(student_logits: Tensor, teacher_logits: Tensor, _labels: Tensor, *, temperature: float) -> Tensor:
    """Return T² KL(p ‖ q) in nats, p and q the softmax of z/T (Hinton 2015, arXiv 1503.02531)."""
    student, teacher = _prepare(student_logits, teacher_logits)
    return temperature**2 * _kl_per_image(student / temperature, teacher / temperature).mean()


def soft_cross_entropy(
    student_logits: Tensor, teacher_logits: Tensor, _labels: Tensor, *, temperature: float
) -> Tensor:
    """Return H(p, q) in nats, p and q the softmax of z/T, without the factor T² (Dewalkar, Sinha, Patidar).

    Its gradient is that of `kl` divided by T²: the two differ by the teacher's entropy, constant in the student.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    return F.cross_entropy(student / temperature, (teacher / temperature).softmax(dim=1))


def mse(
    student_logits: Tensor,
    teacher_logits: Tensor,
    _labels: Tensor,
    *,
    temperature: float,  # noqa: ARG001
) -> Tensor:
    """Return ‖z_t - z_s‖² / C, logits centred per image; no temperature (Kim 2021, arXiv 2105.08919).

    A fused teacher's logits are known up to a shift only. The division by C is that of the authors' code: the limit of
    `kl` for high T is half of this.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    return F.mse_loss(student - student.mean(1, keepdim=True), teacher - teacher.mean(1, keepdim=True))


def standardised_kl(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return `kl` of logits standardised per image to mean 0 and population deviation 1 (Sun 2024, arXiv 2403.01427).

    Published temperature: 2. Shifting or scaling an image's logits, the teacher's or the student's, changes nothing.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    return kl(_standardise(student), _standardise(teacher), labels, temperature=temperature)


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> Tensor:
    """Return T² (target_weight TCKD + other_weight NCKD) in nats (Zhao 2022, arXiv 2203.08679).

    TCKD is the KL between (p_y, 1 - p_y) of teacher and student, NCKD the KL between their distributions over the
    other classes. It reads the labels. The weights are the paper's alpha and beta; published with temperature 4.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    student_target, student_others = _decouple(student / temperature, labels)
    teacher_target, teacher_others = _decouple(teacher / temperature, labels)
    tckd = _kl_per_image(student_target, teacher_target)
    nckd = _kl_per_image(student_others, teacher_others)
    return temperature**2 * (target_weight * tckd + other_weight * nckd).mean()


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    _labels: Tensor,
    *,
    temperature: float,
    between_weight: float = 1.0,
    within_weight: float = 1.0,
) -> Tensor:
    """Return T² (between_weight (1 - r_image) + within_weight (1 - r_class)) (Huang 2022, arXiv 2205.10536).

    r_image is the mean over images of Pearson's correlation of p and q over the classes, r_class the mean over classes
    of their correlation over the batch; both are in [-1, 1], and 0 where one side is constant (a batch of one image).
    The weights are the paper's beta and gamma.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    q, p = (student / temperature).softmax(dim=1), (teacher / temperature).softmax(dim=1)
    between, within = 1 - _correlation(q, p, dim=1).mean(), 1 - _correlation(q, p, dim=0).mean()
    return temperature**2 * (between_weight * between + within_weight * within)


def adaptive_confidence(
    student_logits: Tensor, teacher_logits: Tensor, _labels: Tensor, *, temperature: float, sharpness: float = 0.5
) -> Tensor:
    """Return the mean of (1 - b) T² KL(p ‖ q) + b CE(q, argmax q) in nats (Guo 2024, arXiv 2402.03749).

    b = e^s / (e^s + e^t) per image, without gradient, where s = CE(q, argmax q) / sharpness and t = CE(q, argmax p) /
    sharpness, at temperature 1: 1/2 where student and teacher predict the same class, less the surer the student
    is of another. `sharpness` is the authors' threshold: 0.5 on CIFAR-100, 4 on ImageNet.
    """
    student, teacher = _prepare(student_logits, teacher_logits)
    own = F.cross_entropy(student, student.argmax(dim=1), reduction="none")
    theirs = F.cross_entropy(student, teacher.argmax(dim=1), reduction="none")
    b = torch.sigmoid((own - theirs) / sharpness).detach()
    divergence = temperature**2 * _kl_per_image(student / temperature, teacher / temperature)
    return ((1 - b) * divergence + b * own).mean()


SOFT_LOSSES: dict[str, SoftLoss] = {
    loss.name: loss
    for loss in (
        SoftLoss(kl),
        SoftLoss(soft_cross_entropy),
        SoftLoss(mse, needs_logits=True),
        SoftLoss(standardised_kl),
        SoftLoss(dkd, reads_labels=True),
        SoftLoss(dist, compares_images=True),
        SoftLoss(adaptive_confidence),
    )
}


def resolve(name: str, options: Mapping[str, float]) -> SoftLoss:
    """Return the loss with `options`. Raises ValueError for an unknown loss or option, or a missing temperature."""
    if name not in SOFT_LOSSES:
        raise ValueError(f"unknown loss '{name}'{did_you_mean(name, SOFT_LOSSES)}")
    loss = SOFT_LOSSES[name]
    parameters = inspect.signature(loss.function).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    if unknown := [option for option in options if option not in known]:
        raise ValueError(f"loss '{name}' takes no option '{unknown[0]}'{did_you_mean(unknown[0], known)}")
    if "temperature" not in options:
        raise ValueError(f"loss '{name}' needs a temperature")
    return replace(loss, options=dict(options))


def _prepare(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in float32, for half precision loses small probabilities, the teacher's without gradient."""
    check_shapes(student_logits, teacher_logits)
    return student_logits.float(), teacher_logits.detach().float()


def _kl_per_image(student: Tensor, teacher: Tensor) -> Tensor:
    """Return KL(softmax(teacher) ‖ softmax(student)) [B] in nats."""
    p, q = teacher.log_softmax(dim=1), student.log_softmax(dim=1)
    # What F.kl_div computes, which has no rule for vmap.
    return (p.exp() * (p - q)).sum(dim=1)


def _standardise(logits: Tensor) -> Tensor:
    deviation = logits.std(dim=1, correction=0, keepdim=True)
    return (logits - logits.mean(dim=1, keepdim=True)) / (deviation + 1e-7)


def _decouple(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits [B, 2] of the label against the rest, and the rest's own logits [B, C - 1]."""
    target = labels.unsqueeze(1)
    columns = torch.arange(logits.shape[1] - 1, device=logits.device)
    others = logits.gather(1, columns + (columns >= target))
    return torch.cat([logits.gather(1, target), others.logsumexp(dim=1, keepdim=True)], dim=1), others


def _correlation(a: Tensor, b: Tensor, *, dim: int) -> Tensor:
    return F.cosine_similarity(a - a.mean(dim, keepdim=True), b - b.mean(dim, keepdim=True), dim=dim)
