"""Soft losses: worked numbers, the identities that hold between them, and the mistakes they refuse."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import combine
from knowledge_transfer.learning.losses.soft_loss import SoftLoss, check_shapes, per_image

LABELS = torch.tensor([0, 2, 1, 2])


def logits(*rows: tuple[float, ...], temperature: float = 1.0) -> Tensor:
    """Logits whose softmax at `temperature` is the given distributions."""
    return temperature * torch.tensor(rows).log()


def random_pair(*, seed: int = 0, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 4, classes, generator=generator) * 3
    return student.requires_grad_(), teacher


def gradient(loss: Tensor, student: Tensor) -> Tensor:
    return torch.autograd.grad(loss, student)[0]


def test_kl_has_t_squared_and_the_batch_mean() -> None:
    teacher = logits((0.5, 0.5), (0.8, 0.2), temperature=3)
    student = logits((0.8, 0.2), (0.8, 0.2), temperature=3)
    first = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert losses.kl(student, teacher, LABELS[:2], temperature=3).item() == pytest.approx(9 * first / 2, rel=1e-5)


def test_kl_ignores_classes_of_no_probability() -> None:
    few = losses.kl(logits((0.8, 0.2)), logits((0.5, 0.5)), LABELS[:1], temperature=1)
    absent = torch.full((1, 8), -1e4)
    student, teacher = (torch.cat([z, absent], 1) for z in (logits((0.8, 0.2)), logits((0.5, 0.5))))
    torch.testing.assert_close(losses.kl(student, teacher, LABELS[:1], temperature=1), few)


def test_kl_is_forward_kl() -> None:
    certain, torn = logits((0.99, 0.01)), logits((0.5, 0.5))
    forward = losses.kl(certain, torn, LABELS[:1], temperature=1)
    assert forward > 2 * losses.kl(torn, certain, LABELS[:1], temperature=1)


def test_soft_cross_entropy_worked_number() -> None:
    student, teacher = logits((0.8, 0.2), temperature=2), logits((0.5, 0.5), temperature=2)
    value = losses.soft_cross_entropy(student, teacher, LABELS[:1], temperature=2)
    assert value.item() == pytest.approx(-0.5 * math.log(0.8 * 0.2), rel=1e-5)


def test_soft_cross_entropy_lacks_t_squared_in_gradient() -> None:
    student, teacher = random_pair()
    soft = losses.soft_cross_entropy(student, teacher, LABELS, temperature=3)
    kl = losses.kl(student, teacher, LABELS, temperature=3)
    torch.testing.assert_close(gradient(soft, student), gradient(kl, student) / 9)


def test_mse_worked_number_at_any_temperature() -> None:
    student, teacher = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), torch.zeros(2, 3)
    for temperature in (1.0, 4.0):
        value = losses.mse(student, teacher, LABELS[:2], temperature=temperature)
        assert value.item() == pytest.approx((2 / 3 + 2 / 9) / 2)


def test_mse_is_twice_the_limit_of_kl() -> None:
    student, teacher = (z.double() - z.double().mean(1, keepdim=True) for z in random_pair())
    kl = losses.kl(student, teacher, LABELS, temperature=100)
    assert losses.mse(student, teacher, LABELS, temperature=1).item() == pytest.approx(2 * kl.item(), rel=0.03)


def test_standardised_kl_worked_number() -> None:
    # Two logits standardise to -1 and 1 by the population deviation; at T 2 the KL of the mirrored pair is tanh(1/2).
    value = losses.standardised_kl(torch.tensor([[0.0, 2.0]]), torch.tensor([[5.0, 3.0]]), LABELS[:1], temperature=2)
    assert value.item() == pytest.approx(4 * math.tanh(0.5), rel=1e-5)


def test_standardised_kl_ignores_shift_and_scale() -> None:
    student, teacher = random_pair()
    plain = losses.standardised_kl(student, teacher, LABELS, temperature=2)
    assert plain > 0.1
    torch.testing.assert_close(losses.standardised_kl(student, 7 * teacher - 5, LABELS, temperature=2), plain)
    torch.testing.assert_close(losses.standardised_kl(0.3 * student + 2, teacher, LABELS, temperature=2), plain)


def test_dkd_worked_number() -> None:
    student, teacher = logits((0.25, 0.5, 0.25), temperature=2), logits((0.15, 0.8, 0.05), temperature=2)
    tckd = 0.8 * math.log(0.8 / 0.5) + 0.2 * math.log(0.2 / 0.5)
    nckd = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    label = torch.tensor([1])
    assert losses.dkd(student, teacher, label, temperature=2).item() == pytest.approx(4 * (tckd + 8 * nckd), rel=1e-4)
    weighted = losses.dkd(student, teacher, label, temperature=2, target_weight=3, other_weight=0.5)
    assert weighted.item() == pytest.approx(4 * (3 * tckd + 0.5 * nckd), rel=1e-4)


@pytest.mark.parametrize("label", [0, 1, 2])
def test_dkd_with_the_coupled_weight_is_kl(label: int) -> None:
    student, teacher = (z[:1] for z in random_pair())
    others = 1 - float((teacher / 4).softmax(1)[0, label])
    dkd = losses.dkd(student, teacher, torch.tensor([label]), temperature=4, other_weight=others)
    torch.testing.assert_close(dkd, losses.kl(student, teacher, LABELS[:1], temperature=4))


def test_dist_worked_numbers() -> None:
    # Two classes: r is +1 and -1 on the two images; over the two images it is -1 in both classes.
    student, teacher = logits((0.8, 0.2), (0.4, 0.6), temperature=2), logits((0.6, 0.4), (0.9, 0.1), temperature=2)
    assert losses.dist(student, teacher, LABELS[:2], temperature=2).item() == pytest.approx(4 * (1 + 2), rel=1e-5)
    weighted = losses.dist(student, teacher, LABELS[:2], temperature=2, between_weight=3, within_weight=0.5)
    assert weighted.item() == pytest.approx(4 * (3 * 1 + 0.5 * 2), rel=1e-5)
    # One image has no correlation over the batch. Its deviations over three classes, in 1/30: (5 -1 -4), (8 -7 -1).
    r = (5 * 8 + 1 * 7 + 4 * 1) / math.sqrt((25 + 1 + 16) * (64 + 49 + 1))
    one = losses.dist(logits((0.5, 0.3, 0.2)), logits((0.6, 0.1, 0.3)), LABELS[:1], temperature=1)
    assert one.item() == pytest.approx((1 - r) + 1, rel=1e-5)


def test_adaptive_confidence_worked_numbers() -> None:
    student, teacher = logits((0.8, 0.2)), logits((0.3, 0.7))
    kl, own = 0.3 * math.log(0.3 / 0.8) + 0.7 * math.log(0.7 / 0.2), -math.log(0.8)
    apart = losses.adaptive_confidence(student, teacher, LABELS[:1], temperature=1, sharpness=1)
    assert apart.item() == pytest.approx(0.8 * kl + 0.2 * own, rel=1e-5)
    default = losses.adaptive_confidence(student, teacher, LABELS[:1], temperature=1)
    b = 1.25**2 / (1.25**2 + 5**2)
    assert default.item() == pytest.approx((1 - b) * kl + b * own, rel=1e-5)
    # Alike, b is a half; the temperature enters the divergence alone.
    alike = losses.adaptive_confidence(2 * student, 2 * logits((0.6, 0.4)), LABELS[:1], temperature=2)
    divergence = 4 * (0.6 * math.log(0.6 / 0.8) + 0.4 * math.log(0.4 / 0.2))
    assert alike.item() == pytest.approx(0.5 * divergence - 0.5 * math.log(16 / 17), rel=1e-5)


def test_adaptive_confidence_sends_no_gradient_through_b() -> None:
    student, teacher = logits((0.8, 0.2)).requires_grad_(), logits((0.3, 0.7))
    got = gradient(losses.adaptive_confidence(student, teacher, LABELS[:1], temperature=1, sharpness=1), student)
    # KL pulls with q - p, the student's own labels with q - onehot; b is 0.2.
    expected = 0.8 * torch.tensor([[0.5, -0.5]]) + 0.2 * torch.tensor([[-0.2, 0.2]])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_every_loss_keeps_the_contract(name: str) -> None:
    student, teacher = random_pair()
    teacher.requires_grad_()
    loss = losses.resolve(name, {"temperature": 4.0})
    value = loss(student, teacher, LABELS)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert gradient(value, student).abs().sum() > 0
    with pytest.raises(RuntimeError, match="not have been used"):
        torch.autograd.grad(loss(student, teacher, LABELS), teacher)
    # A mean over the batch: the same images twice change nothing.
    torch.testing.assert_close(loss(student.repeat(2, 1), teacher.repeat(2, 1), LABELS.repeat(2)), value)


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_loss_computes_half_precision_logits_in_float32(name: str, dtype: torch.dtype) -> None:
    student, teacher = (z.detach().to(dtype) for z in random_pair())
    loss = losses.resolve(name, {"temperature": 4.0})
    assert torch.equal(loss(student, teacher, LABELS), loss(student.float(), teacher.float(), LABELS))


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
@pytest.mark.parametrize("shape", [(4, 1), (1, 3), (3,), (4, 3, 1)])
def test_every_loss_refuses_a_teacher_that_would_broadcast(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[4, 3\] and"):
        losses.resolve(name, {"temperature": 4.0})(random_pair()[0], torch.zeros(shape), LABELS)


def test_logits_of_other_than_two_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[2, 4, 3\] and \[2, 4, 3\]"):
        check_shapes(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3))


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1e4])
def test_every_loss_stays_finite_for_extreme_logits(name: str, scale: float) -> None:
    student, teacher = random_pair()
    flat_or_extreme = (student.detach() * scale).requires_grad_()
    for target in (teacher, teacher * scale):
        value = losses.resolve(name, {"temperature": 1.0})(flat_or_extreme, target, LABELS)
        assert value.isfinite()
        assert gradient(value, flat_or_extreme).isfinite().all()


@pytest.mark.parametrize("nothing", [math.nan, math.inf])
def test_combine_pins_both_ends(nothing: float) -> None:
    term, broken = torch.tensor(2.0, requires_grad=True), torch.tensor(nothing, requires_grad=True)
    for total in (combine(term, broken, 1), combine(broken, term, 0)):
        assert total.item() == 2
        assert gradient(total, term).item() == 1


def test_combine_weighs_the_soft_loss_with_alpha() -> None:
    assert combine(torch.tensor(1.0), torch.tensor(5.0), 0.75).item() == 2


def test_resolve_binds_options() -> None:
    student, teacher = random_pair()
    bound = losses.resolve("dkd", {"temperature": 4.0, "other_weight": 2.0})
    direct = losses.dkd(student, teacher, LABELS, temperature=4, other_weight=2)
    assert torch.equal(bound(student, teacher, LABELS), direct)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("standardized_kl", {"temperature": 1.0}, "unknown loss.*did you mean 'standardised_kl'"),
        ("dkd", {"temperature": 1.0, "other_wieght": 1.0}, "'dkd' takes no option.*did you mean 'other_weight'"),
        ("kl", {"temperature": 1.0, "sharpness": 1.0}, "'kl' takes no option 'sharpness'"),
        ("kl", {"temperature": 1.0, "student_logits": 1.0}, "'kl' takes no option 'student_logits'"),
        ("kl", {}, "needs a temperature"),
    ],
)
def test_resolve_names_what_is_wrong(name: str, options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        losses.resolve(name, options)


def test_hard_and_soft_share_a_scale() -> None:
    # A certain teacher is a label: kl at T 1 is then the cross-entropy.
    student, _ = random_pair()
    certain = F.one_hot(LABELS, 3).float() * 200
    torch.testing.assert_close(losses.kl(student, certain, LABELS, temperature=1), F.cross_entropy(student, LABELS))


@pytest.mark.parametrize("name", losses.SOFT_LOSSES)
def test_the_traits_of_a_loss_are_true(name: str) -> None:
    """A trait left out of the entry of a new loss fails here."""
    student, teacher = random_pair()
    loss = losses.resolve(name, {"temperature": 4.0})
    value, relabelled = loss(student, teacher, LABELS), loss(student, teacher, LABELS.flip(0))
    assert loss.reads_labels is not torch.equal(value, relabelled)
    images = torch.stack([loss(student[[i]], teacher[[i]], LABELS[[i]]) for i in range(len(LABELS))])
    assert loss.compares_images is not torch.allclose(images.mean(), value)


def test_traits_refuse_what_a_loss_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def picky(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
        return losses.kl(student_logits, teacher_logits, labels, temperature=temperature)

    entry = SoftLoss(picky, reads_labels=True, compares_images=True, needs_logits=True)
    monkeypatch.setitem(losses.SOFT_LOSSES, entry.name, entry)
    with pytest.raises(ValueError, match="'picky' reads the labels, alpha 1 withholds them"):
        DistillationConfig(loss="picky", alpha=1)
    with pytest.raises(ValueError, match="'picky' compares logits, which the vote 'borda' lacks"):
        DistillationConfig(loss="picky", fusion="borda")
    with pytest.raises(ValueError, match="'picky' compares the images of a batch"):
        per_image(DistillationConfig(loss="picky").soft_loss, *random_pair(), LABELS)
