"""Many teachers, one learner: what is the same, what is not, and heads that mimic one teacher each."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domains import domain_slices
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.ensembles.fusion import teacher_logits
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.objective import soft_loss_to
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import build, folded, mean_of_heads
from tests.conftest import stripes
from tests.models import CPU, QUICK, fit

CNN = Architecture(kind="simple_cnn", width=0.25)
KINDS = ("simple_cnn", "resnet8", "resnet50", "squeezenet", "vgg19", "alexnet")


def draw(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradient(logits: Tensor, teacher: Tensor, name: str, temperature: float) -> tuple[float, Tensor]:
    """The soft loss and its gradient by the learner's logits."""
    logits = logits.clone().requires_grad_()
    loss = losses.resolve(name, {"temperature": temperature})
    batch = len(logits)
    slices = domain_slices(torch.zeros(batch, dtype=torch.int64), stripes(3).blocks, CPU)
    value = soft_loss_to(loss, logits, teacher, torch.zeros(batch, dtype=torch.int64), slices)
    return float(value.detach()), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("name", ["kl", "soft_cross_entropy"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("seed", range(5))
def test_output_avg_and_loss_avg_share_a_gradient(name: str, temperature: float, seed: int) -> None:
    members, logits = draw(4, 8, 3, seed=seed), draw(8, 3, seed=seed + 100)
    fused = teacher_logits(members, "mean_probabilities", temperature=temperature)
    output_avg = gradient(logits, fused, name, temperature)
    loss_avg = gradient(logits, members.movedim(0, 1), name, temperature)
    torch.testing.assert_close(output_avg[1], loss_avg[1], atol=1e-6, rtol=1e-5)
    # The two differ by what the teachers disagree, which no learner changes; cross-entropy does not see it.
    mean = (members / temperature).softmax(2).mean(0)
    entropy = torch.distributions.Categorical(mean).entropy().mean()
    each = torch.distributions.Categorical(logits=members / temperature).entropy().mean()
    disagreement = temperature**2 * float(entropy - each) if name == "kl" else 0.0
    assert loss_avg[0] - output_avg[0] == pytest.approx(disagreement, abs=1e-4)


def test_mimic_all_is_the_mean_over_heads() -> None:
    heads, members = draw(8, 2, 3), draw(8, 2, 3, seed=1)
    value, slope = gradient(heads, members, "kl", 2.0)
    expected = [
        4 * F.kl_div((heads[:, k] / 2).log_softmax(1), (members[:, k] / 2).softmax(1), reduction="batchmean")
        for k in range(2)
    ]
    assert value == pytest.approx(float(sum(expected) / 2))
    # A head learns from its own teacher alone.
    changed = members.clone()
    changed[:, 1] = draw(8, 3, seed=2)
    other = gradient(heads, changed, "kl", 2.0)[1]
    assert torch.equal(other[:, 0], slope[:, 0])
    assert not torch.equal(other[:, 1], slope[:, 1])


def test_mimic_all_differs_from_loss_avg() -> None:
    logits, members = draw(8, 3), draw(8, 2, 3, seed=1)
    one = gradient(logits, members, "kl", 1.0)[1]
    two = gradient(logits.unsqueeze(1).expand(-1, 2, -1), members, "kl", 1.0)[1]
    torch.testing.assert_close(two.sum(1), one)
    assert not torch.allclose(two[:, 0], two[:, 1])


def test_a_fused_teacher_trains_all_heads_together() -> None:
    heads, teacher = draw(8, 2, 3), draw(8, 3, seed=1)
    fused = gradient(heads, teacher, "kl", 1.0)[0]
    assert fused == pytest.approx(gradient(mean_of_heads(heads), teacher, "kl", 1.0)[0])


def test_the_prediction_is_the_mean_over_heads() -> None:
    heads = draw(5, 3, 4)
    torch.testing.assert_close(mean_of_heads(heads).exp(), heads.softmax(2).mean(1))
    assert mean_of_heads(1e4 * heads).isfinite().all()
    assert torch.equal(mean_of_heads(heads[:, 0]), heads[:, 0])


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_can_have_heads(kind: str) -> None:
    facts = {"classes": 4, "channels": 1, "image_size": 32, "mean": (0.5,), "deviation": (0.3,)}
    network = build(Architecture(kind=kind, width=0.25, heads=3), **facts)
    pixels = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    assert network.train()(pixels).shape == (2, 3, 4)
    logits = network.eval()(pixels)
    torch.testing.assert_close(logits.exp().sum(1), torch.ones(2))
    torch.testing.assert_close(folded(network, pixels)(pixels), logits, atol=1e-4, rtol=1e-4)


def test_an_architecture_names_its_heads() -> None:
    assert str(Architecture(kind="resnet8", width=0.5, heads=3)) == "resnet8 (width 0.5), 3 heads"
    assert str(Architecture(kind="resnet8")) == "resnet8"


@pytest.fixture(scope="module")
def teachers() -> list[Checkpoint]:
    return [fit(name, stripes(30), CNN, seed=seed) for seed, name in enumerate("ab")]


@pytest.fixture(scope="module")
def labels(teachers: list[Checkpoint]) -> SoftLabels:
    return label(teachers, stripes(30), views=1, view_seed=4, augmentation=Augmentation(), device=CPU)


def test_each_head_learns_from_its_teacher(teachers: list[Checkpoint], labels: SoftLabels) -> None:
    student = fit(
        "student",
        stripes(30),
        Architecture(kind="simple_cnn", width=0.5, heads=2),
        QUICK.override({"epochs": 30, "learning_rate": 0.05, "views": 1}),
        distillation=Distillation(labels, DistillationConfig(fusion="separate", alpha=1, temperature=1)),
    )
    network = student.build()
    with torch.no_grad():
        logits = network.body((stripes(30).images.float() - network.mean) / network.deviation).unflatten(1, (2, -1))
    own, other = (
        float(F.kl_div(logits.log_softmax(2), p.softmax(2), reduction="batchmean"))
        for p in (labels.logits[:, :, 0].float().movedim(0, 1), labels.logits[:, :, 0].float().flip(0).movedim(0, 1))
    )
    assert own < 0.5 * other
    predicted = predict(network, stripes(30), device=CPU, precision="fp32")
    torch.testing.assert_close(predicted.exp(), logits.softmax(2).mean(1), atol=1e-4, rtol=1e-3)


def test_as_many_heads_as_teachers(labels: SoftLabels) -> None:
    three, separate = Architecture(kind="simple_cnn", width=0.25, heads=3), DistillationConfig(fusion="separate")
    with pytest.raises(ValueError, match="2 separate teachers, but 3 heads: set heads to 2 or 1"):
        fit("student", stripes(30), three, distillation=Distillation(labels, separate))


def test_heads_learn_from_labels_alone() -> None:
    heads = Architecture(kind="simple_cnn", width=0.25, heads=2)
    student = fit("student", stripes(30), heads, QUICK.override({"epochs": 3}))
    assert student.facts.metrics["accuracy"] > 1 / 3
