from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from knowledge_transfer.learning.data.augmentation import View
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.domains import domain_slices
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.losses import distillation as losses
from knowledge_transfer.learning.losses.image_weights import alpha_of_each, balanced
from knowledge_transfer.learning.losses.objective import DistillationObjective, Objective, domain_loss
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.network import cpu_state
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training import events, trainer
from knowledge_transfer.learning.training.loop import fit
from knowledge_transfer.learning.training.recipe import Recipe
from knowledge_transfer.learning.training.trainer import FitOptions, TrainingDivergedError
from knowledge_transfer.learning.vectorized.members import learn_members
from tests import models
from tests.conftest import stripes, two_domains

CPU = torch.device("cpu")
QUICK = Recipe(epochs=2, batch_size=20, learning_rate=0.05, precision="fp32")
TINY = Architecture(kind="resnet8", width=0.5)
SEEDED = LearnOptions(seed=1, device=CPU)


def network(images, kind="resnet8"):
    return models.network(kind, 0.5, classes=len(images.class_names), channels=images.images.shape[1])


def train(images, recipe=QUICK, seed=0, kind="resnet8", **options):
    return fit(network(images, kind=kind), images, recipe, FitOptions("a", seed, CPU, **options), validation=images)


def kl(temperature=2.0):
    return losses.resolve("kl", {"temperature": temperature})


def data(images):
    return FitData(images, images, Normalisation(mean=(0.5,), deviation=(0.3,)))


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_it_learns(images):
    fitted = train(images, QUICK.override({"epochs": 6}))
    assert fitted.history[-1].validation_accuracy > 0.95
    assert fitted.history[-1].loss < fitted.history[0].loss


@pytest.mark.parametrize("kind", ["resnet8", "squeezenet"])  # squeezenet draws dropout
@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_same_seed_same_bits(images, kind, precision):
    recipe = QUICK.override(
        {"precision": precision, "augmentation": {"crop": 3, "flip": True, "mixup": 0.5}, "ema": 0.9}
    )
    one, other = train(images, recipe, kind=kind), train(images, recipe, kind=kind)
    assert same(one.state, other.state)
    assert not same(one.state, train(images, recipe, seed=1, kind=kind).state)


def test_a_fit_leaves_the_global_generator_alone(images):
    fresh = network(images)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    fit(fresh, images, QUICK, FitOptions("a", 0, CPU), validation=images)
    assert torch.equal(torch.rand(1), expected)


def test_alpha_one_never_reads_a_label(images):
    """Knowledge through images alone: other labels, same weights."""
    teacher = torch.randn(60, 2, 3)
    objective = DistillationObjective(teacher, kl(), 1.0, view_seed=7)
    relabelled = type(images)(images.images, images.labels.flip(0), images.class_names)
    assert same(train(images, distillation=objective).state, train(relabelled, distillation=objective).state)


def half_labelled(images):
    """Return the images, the labels of every second one withheld."""
    hidden = torch.arange(len(images)) % 2 == 1
    return replace(images, labels=torch.where(hidden, images.without_labels().labels, images.labels)), hidden


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_of_half_labelled_images_is_its_formula(images, smoothing):
    """alpha T² KL of every image, and (1 - alpha) CE of those with a label alone, over all images of the batch."""
    some, hidden = half_labelled(images)
    teacher = 3 * torch.randn(60, 1, 3, generator=torch.Generator().manual_seed(0))
    recipe = QUICK.override({"epochs": 1, "batch_size": 60, "label_smoothing": smoothing})
    options = FitOptions("a", 0, CPU, objective_of(teacher, alpha=0.3, gamma=0.0))
    fitted = fit(network(images), some, recipe, options, validation=images)
    with torch.no_grad():
        logits = network(images).train()(images.images)
    hard = F.cross_entropy(logits, images.labels, label_smoothing=smoothing, reduction="none")[~hidden].sum() / 60
    soft = 4 * F.kl_div((logits / 2).log_softmax(1), (teacher[:, 0] / 2).softmax(1), reduction="batchmean")
    assert fitted.history[0].loss == pytest.approx(float(0.7 * hard + 0.3 * soft), rel=1e-5)
    right = torch.where(hidden, teacher[:, 0].argmax(1), images.labels)
    assert fitted.history[0].accuracy == pytest.approx(float((logits.argmax(1) == right).float().mean()))


def test_alpha_by_confidence_worked_numbers():
    """Certainty is 1 - entropy / log C: of (1, 0) 1, of (1/2, 1/2) 0, of (0.8, 0.2) 0.2781."""
    teacher = torch.tensor([(1.0, 0.0), (0.8, 0.2), (0.5, 0.5), (0.5, 0.5), (1.0, 0.0)]).log()
    student = torch.tensor([(0.0, 1.0), (1.0, 0.0), (0.8, 0.2), (0.5, 0.5), (0.5, 0.5)]).log()
    even = [0.5, 0.2781 / 1.2781, 0.0, 0.5, 1.0]
    assert alpha_of_each(0.5, student, teacher).tolist() == pytest.approx(even, abs=1e-4)
    shifted = [0.8, 0.8 * 0.2781 / (0.8 * 0.2781 + 0.2), 0.0, 0.8, 1.0]
    assert alpha_of_each(0.8, student, teacher).tolist() == pytest.approx(shifted, abs=1e-4)
    # Two teachers that contradict each other know nothing together.
    torn = torch.stack([teacher[:1], teacher[:1].flip(1)], 1)
    assert alpha_of_each(0.5, teacher[:1], torn).tolist() == pytest.approx([0], abs=1e-4)


@pytest.mark.parametrize("separate", [False, True])
def test_the_loss_by_confidence_is_its_formula_in_a_mix(separate):
    """Each image's alpha and soft loss are those within its block; cross-entropy is over all classes."""
    mixed = mix(two_domains(6, 4))
    generator = torch.Generator().manual_seed(0)
    logits, first, second = 3 * torch.randn(3, len(mixed), len(mixed.class_names), generator=generator)
    teachers = torch.stack([first, second], 1) if separate else first
    distillation = replace(objective_of(teachers[:, None], alpha=0.3, gamma=0.2), by_confidence=True)
    objective, rows = Objective(mixed, 0.0, CPU, distillation), torch.arange(len(mixed))
    targets = objective.targets(View(mixed.images, rows, torch.ones(len(mixed))), rows)
    expected = 0.0
    for row in rows.tolist():
        block = mixed.blocks[int(mixed.domains[row])].classes
        q, own = logits[row : row + 1, block], [each[row : row + 1, block] for each in (first, second)[: 1 + separate]]
        alpha = alpha_of_each(0.3, q, torch.stack(own, 1))
        soft = sum(losses.kl(q, p, mixed.labels[:1], temperature=2.0) for p in own) / len(own)
        hard = F.cross_entropy(logits[row : row + 1], mixed.labels[row : row + 1])
        expected += float(alpha * soft + (1 - alpha) * hard) / len(mixed)
    slices = domain_slices(mixed.domains, mixed.blocks, CPU)
    expected += 0.2 * float(domain_loss(logits, slices))
    assert float(objective.loss(logits, targets, rows, 0, slices)) == pytest.approx(expected, rel=1e-5)


def test_a_batch_of_one_domain_is_weighed_too():
    mixed = mix(two_domains(6, 4))
    teacher = torch.randn(len(mixed), 1, len(mixed.class_names), generator=torch.Generator().manual_seed(0))
    distillation = replace(objective_of(teacher, alpha=0.3, gamma=0.0), by_confidence=True)
    objective, rows = Objective(mixed, 0.0, CPU, distillation), torch.arange(6)
    targets = objective.targets(View(mixed.images[rows], rows, torch.ones(6)), rows)
    slices = domain_slices(mixed.domains[rows], mixed.blocks, CPU)
    assert objective.loss(torch.randn(6, len(mixed.class_names)), targets, rows, 0, slices).isfinite()


def test_networks_side_by_side_weigh_by_confidence_too(images):
    generator = torch.Generator().manual_seed(0)
    distillation = objective_of(3 * torch.randn(60, 1, 3, generator=generator), alpha=0.5, gamma=0.0)
    objective = Objective(images, 0.0, CPU, replace(distillation, by_confidence=True))
    logits, rows = 3 * torch.randn(2, 60, 3, generator=generator), torch.arange(60)
    targets = objective.targets(View(images.images, rows, torch.ones(60)), rows)
    slices = domain_slices(images.domains, images.blocks, CPU)
    alone = torch.stack([objective.loss(each, targets, rows, 0, slices) for each in logits])
    together = objective.losses_of_networks(logits, targets.expand(2, -1, -1), rows.expand(2, -1), 0)
    torch.testing.assert_close(together, alone)


def test_balanced_weights_worked_numbers():
    """Of 6 images with labels 0 0 0 1 and two withheld: a class weighs half of the four."""
    some = stripes(6, classes=2)
    some = replace(some, labels=torch.tensor([0, 0, 0, 1, -1, -1]))
    assert balanced(some).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 1, 1])
    given = torch.tensor([1.0, 1, 2, 0.5, 0.5, 1])
    assert balanced(some, given).tolist() == pytest.approx([4.5 / 8, 4.5 / 8, 4.5 / 4, 2.25, 0.5, 1])
    mixed = mix(
        {
            "a": replace(some, labels=torch.tensor([0, 0, 0, 1, 1, 1])),
            "b": replace(some, labels=torch.tensor([0] * 5 + [1])),
        }
    )
    assert balanced(mixed).tolist() == pytest.approx([1] * 6 + [0.6] * 5 + [3])


@pytest.mark.parametrize("is_taught", [False, True])
def test_a_balanced_fit_is_one_whose_classes_are_repeated(is_taught):
    """The loss of three images of one class and one of another is that of three and three."""
    few = stripes(6, classes=2)
    rows = torch.tensor([0, 2, 4, 1])
    several = torch.tensor([0, 2, 4, 1, 1, 1])
    teacher = torch.randn(6, 1, 2, generator=torch.Generator().manual_seed(0))
    losses_of = []
    for indices, weigh in ((rows, True), (several, False)):
        images = few.subset(indices)
        distillation = objective_of(teacher[indices], alpha=0.3, gamma=0.0) if is_taught else None
        objective = Objective(images, 0.0, CPU, distillation, balanced(images) if weigh else None)
        own = torch.arange(len(images))
        targets = objective.targets(View(images.images, own, torch.ones(len(images))), own)
        logits = torch.linspace(-1, 1, 12).view(6, 2)[indices]
        losses_of.append(
            float(objective.loss(logits, targets, own, 0, domain_slices(images.domains, images.blocks, CPU)))
        )
    assert losses_of[0] == pytest.approx(losses_of[1], rel=1e-6)
    assert not same(train(few, QUICK.override({"balance": True})).state, train(few.subset(rows), QUICK).state)


def test_a_recipe_balances_what_it_trains():
    uneven = stripes(60, classes=3).subset(torch.tensor([*range(0, 60, 3), *range(1, 13, 3)]))
    given = balanced(uneven)
    assert same(train(uneven, QUICK.override({"balance": True})).state, train(uneven, image_weights=given).state)
    assert not same(train(uneven, QUICK.override({"balance": True})).state, train(uneven).state)


def test_the_label_of_an_image_without_one_has_no_gradient(images):
    some, hidden = half_labelled(images)
    objective = Objective(some, 0.1, CPU, objective_of(torch.randn(60, 1, 3), alpha=0.0, gamma=0.0))
    logits, rows = torch.randn(60, 3, requires_grad=True), torch.arange(60)
    targets = objective.targets(View(images.images, rows, torch.ones(60)), rows)
    objective.loss(logits, targets, rows, 0, domain_slices(some.domains, some.blocks, CPU)).backward()
    assert (logits.grad.abs().sum(1) > 0).tolist() == (~hidden).tolist()


def test_withheld_labels_that_a_loss_reads_are_refused(images):
    some, _ = half_labelled(images)
    with pytest.raises(ValueError, match="withheld"):
        train(some)
    reads = losses.resolve("dkd", {"temperature": 2.0})
    with pytest.raises(ValueError, match="withheld"):
        train(some, distillation=DistillationObjective(torch.zeros(60, 2, 3), reads, 0.5, view_seed=0))


def test_alpha_zero_is_learning_from_labels(images):
    objective = DistillationObjective(torch.full((60, 2, 3), torch.nan), kl(), 0.0, view_seed=0)
    assert same(train(images, distillation=objective).state, train(images).state)


def test_each_view_has_its_own_soft_label(images):
    """The soft label of each view is another class."""
    recipe = QUICK.override({"epochs": 2, "views": 2})
    seen = []

    def spy(student_logits, teacher_logits, labels):
        seen.append(teacher_logits.argmax(1).unique().tolist())
        return losses.kl(student_logits, teacher_logits, labels, temperature=1.0)

    teacher = torch.zeros(60, 2, 3)
    teacher[:, 0, 1] = teacher[:, 1, 2] = 9
    train(images, recipe, distillation=DistillationObjective(teacher, spy, 0.5, view_seed=0))
    assert seen == [[1]] * 3 + [[2]] * 3


def test_divergence_stops_the_fit_and_names_the_step(images):
    objective = DistillationObjective(torch.full((60, 2, 3), torch.nan), kl(), 0.5, view_seed=0)
    with pytest.raises(TrainingDivergedError, match=r"a: the loss is nan at epoch 1, step 1 \(learning rate .*lower"):
        train(images, distillation=objective)


def test_every_epoch_emits_an_event(images):
    received = []
    events.subscribe(received.append)
    try:
        train(images, QUICK.override({"epochs": 3}))
    finally:
        events.unsubscribe(received.append)
    assert isinstance(received[0], events.FitStarted)
    assert [event.epoch for event in received[1:]] == [1, 2, 3]
    assert received[-1].seconds_left == 0
    train(images)
    assert len(received) == 4


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 3)])
def test_the_kept_epoch_is_returned_with_its_metrics(images, keep, epoch, monkeypatch):
    right, states = iter([10, 50, 20]), []

    def scripted(answering, images, **_):
        states.append(cpu_state(answering))
        predictions = images.labels.clone()
        predictions[next(right) :] += 1
        return torch.nn.functional.one_hot(predictions % 3, 3).float()

    monkeypatch.setattr(trainer, "predict", scripted)
    fitted = train(images, QUICK.override({"epochs": 3, "keep": keep}))
    assert same(fitted.state, states[epoch - 1])
    assert not same(states[1], states[2])
    assert fitted.metrics["validation_accuracy"] == fitted.history[epoch - 1].validation_accuracy


def test_views_can_be_shared_without_a_teacher(images):
    recipe = QUICK.override({"augmentation": {"crop": 3}})
    objective = DistillationObjective(torch.zeros(60, 2, 3), kl(1.0), 0.0, view_seed=9)
    alone = train(images, recipe, view_seed=9).state
    assert same(alone, train(images, recipe, distillation=objective).state)
    assert not same(alone, train(images, recipe).state)


def test_fits_in_threads_do_not_disturb_each_other(images):
    """Dropout and order draw from one generator: without a lock, two fits at once would share its numbers."""

    def one(seed):
        squeezenet = Architecture(kind="squeezenet", width=0.25)
        return learn("a", squeezenet, data(images), QUICK, LearnOptions(seed, CPU)).sha256

    alone = [one(seed) for seed in range(3)]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(one, range(3))) == alone


def test_options_change_the_weights(images):
    plain = train(images).state
    for option in (
        {"label_smoothing": 0.1},
        {"gradient_clip": 0.01},
        {"ema": 0.5},
        {"optimizer": "adamw", "learning_rate": 0.001},
        {"weight_decay": 0.1},
        {"nesterov": False},
        {"schedule": "cosine"},
    ):
        assert not same(plain, train(images, QUICK.override(option)).state), option


def test_a_set_smaller_than_a_batch_still_trains():
    fitted = train(stripes(9), QUICK.override({"batch_size": 64}))
    assert len(fitted.history) == 2


def test_learn_records_facts_of_the_checkpoint(images):
    first = learn("a", TINY, data(images), QUICK, SEEDED)
    second = learn("a", TINY, data(images), QUICK, SEEDED, round_=1, start=first)
    assert first.facts.key == "a@0"
    assert first.facts.parents == {}
    assert second.facts.parents == {"a@0": first.sha256}
    assert first.facts.sha256 == first.sha256 != second.sha256
    assert first.facts.metrics["validation_accuracy"] == first.curve[-1]["validation_accuracy"]
    assert first.facts.images_sha256 == images.sha256


def test_a_start_that_does_not_fit_is_refused(images):
    start = learn("a", TINY, data(images), QUICK.override({"epochs": 1}), SEEDED)
    with pytest.raises(ValueError, match=r"a@0 is a resnet8 \(width 0.5\), not a simple_cnn"):
        learn("a", Architecture(kind="simple_cnn"), data(images), QUICK, SEEDED, start=start)
    renamed = type(images)(images.images, images.labels, ("x", "y", "z"))
    with pytest.raises(ValueError, match=r"predicts the classes \['class 0'.*images of domain 'all' have \['x'"):
        learn("a", TINY, data(renamed), QUICK, SEEDED, start=start)


def objective_of(teacher, alpha, gamma, temperature=2.0):
    return DistillationObjective(teacher, kl(temperature), alpha, view_seed=7, gamma=gamma)


def test_the_loss_of_a_mix_is_its_formula():
    """(1 - alpha) CE + alpha T² KL within the block - gamma log of the block's probability, image by image."""
    mixed = mix(two_domains(6, 4))
    teacher = torch.randn(10, 1, 5, generator=torch.Generator().manual_seed(0)) * 3
    fitted = train(mixed, QUICK.override({"epochs": 1}), distillation=objective_of(teacher, alpha=0.3, gamma=0.5))
    with torch.no_grad():
        logits = network(mixed).train()(mixed.images)
    terms = []
    for z, taught, label_ in zip(logits, teacher[:, 0], mixed.labels, strict=True):
        block = slice(0, 3) if label_ < 3 else slice(3, 5)
        p, q = (taught[block] / 2).softmax(0), (z[block] / 2).softmax(0)
        whole = z.softmax(0)
        terms.append(-0.7 * whole[label_].log() + 0.3 * 4 * (p * (p / q).log()).sum() - 0.5 * whole[block].sum().log())
    assert fitted.history[0].loss == pytest.approx(float(torch.stack(terms).mean()), rel=1e-4)


@pytest.mark.parametrize(("alpha", "gamma", "untouched"), [(1.0, 0.0, True), (1.0, 0.1, False), (0.9, 0.0, False)])
def test_soft_labels_do_not_train_other_domains_classes(alpha, gamma, untouched):
    """Where no image of the signs is seen, their outputs move by labels or by the domain loss alone."""
    digits = mix(two_domains()).subset(torch.arange(30))
    teacher = torch.randn(30, 2, 5, generator=torch.Generator().manual_seed(0))
    fitted = train(digits, QUICK.override({"weight_decay": 0}), distillation=objective_of(teacher, alpha, gamma))
    *_, weights, biases = fitted.state.values()
    *_, first_weights, first_biases = network(digits).state_dict().values()
    assert not torch.equal(weights[:3], first_weights[:3])
    assert torch.equal(weights[3:], first_weights[3:]) is untouched
    assert torch.equal(biases[3:], first_biases[3:]) is untouched


def test_the_domain_is_learned_without_a_label():
    """Teachers that know nothing, labels withheld: what is left is which domain an image is of."""
    mixed = mix(two_domains())
    shuffled = mixed.labels.clone()
    for own in (mixed.domains == 0, mixed.domains == 1):
        shuffled[own] = mixed.labels[own].flip(0)
    assert not (shuffled == mixed.labels)[mixed.domains == 1].any()
    relabelled = type(mixed)(mixed.images, shuffled, mixed.class_names, blocks=mixed.blocks)
    objective = objective_of(torch.zeros(50, 12, 5), alpha=1.0, gamma=1.0)
    recipe = QUICK.override({"epochs": 12, "batch_size": 10, "learning_rate": 0.02})
    fitted = train(mixed, recipe, distillation=objective)
    assert same(fitted.state, train(relabelled, recipe, distillation=objective).state)
    trained = network(mixed)
    trained.load_state_dict(fitted.state)
    probabilities = predict(trained, mixed, device=CPU).softmax(1)
    assert ((probabilities[:, 3:].sum(1) > 0.5) == (mixed.domains == 1)).float().mean() > 0.9


def test_a_mix_of_one_domain_changes_no_bit(images):
    named = mix({"digits": images})
    recipe = QUICK.override({"augmentation": {"crop": 3, "mixup": 0.5}})
    chain = []
    for each in (images, named):
        student = learn("a", TINY, data(each), recipe, SEEDED)
        soft = label([student], each, views=2, view_seed=3, augmentation=recipe.augmentation, device=CPU)
        target = learn("t", TINY, data(each), recipe, SEEDED, distillation=Distillation(soft, DistillationConfig()))
        chain.append((student, soft, target))
    (student, soft, target), (same_student, same_soft, same_target) = chain
    assert student.sha256 == same_student.sha256
    assert torch.equal(soft.logits, same_soft.logits)
    assert target.sha256 == same_target.sha256
    assert [one.facts.domain for one in (student, target, same_student, same_target)] == ["all"] * 2 + ["digits"] * 2


def test_a_mix_is_distilled_there_and_back():
    """Students of one domain each, a target of both, and back: each has its own classes and its teachers' names."""
    mixed = mix(two_domains())
    recipe = QUICK.override({"epochs": 1, "augmentation": {"cutmix": 1.0}})
    seen = {"views": 1, "view_seed": 3, "augmentation": recipe.augmentation, "device": CPU}
    students = [learn(domain, TINY, data(mixed.of(domain)), recipe, SEEDED) for domain in ("digits", "signs")]
    config = DistillationConfig(loss="dkd", temperature=2.0)  # reads the labels, also those of the partners
    soft = label(students, mixed, **seen)
    target = learn("t", TINY, data(mixed), recipe, SEEDED, round_=1, distillation=Distillation(soft, config))
    assert target.facts.class_names == mixed.class_names
    assert target.facts.parents == {student.facts.key: student.sha256 for student in students}
    assert target.curve[0]["loss"] < 100, "minus infinity outside the blocks is not read"
    back = label([target], mixed, **seen)
    for student in students:
        own = mixed.of(student.facts.domain)
        distillation = Distillation(back.of(mixed, student.facts.domain), config)
        name = student.facts.name
        again = learn(name, TINY, data(own), recipe, SEEDED, round_=1, start=student, distillation=distillation)
        assert again.facts.domain == student.facts.domain
        assert again.facts.class_names == student.facts.class_names
        assert again.facts.parents == {student.facts.key: student.sha256, "t@1": target.sha256}


def test_muon_learns_and_has_the_same_bits_again(images):
    recipe = QUICK.override({"optimizer": "muon", "epochs": 4, "learning_rate": 0.01, "momentum": 0.9})
    one, other = train(images, recipe), train(images, recipe)
    assert same(one.state, other.state)
    assert one.history[-1].validation_accuracy > 0.95


@pytest.mark.parametrize("stack", [True, False])
def test_the_least_steps_hold_for_one_network_and_for_several(images, stack):
    cnn = Architecture.model_validate({"kind": "cnn", "layers": {"convolutions": [[4], [4]]}})
    recipe = QUICK.override({"epochs": 1, "min_steps": 7})
    members = learn_members("g", {"a": SEEDED, "b": SEEDED}, cnn, data(images), recipe, stack=stack)
    assert {len(member.curve) for member in members} == {3}
