"""Steps that the stages of the main experiment share: label a stage's views, train one model of the roster."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knowledge_transfer.experiment.config import seed_for
from knowledge_transfer.experiment.stage_config import DistillationStage, Student, Target
from knowledge_transfer.learning.checkpoint import Checkpoint, require_present_images
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import Distillation, DistillationConfig
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.distillation.soft_labels import SoftLabels
from knowledge_transfer.learning.distillation.validation import ValidationScore
from knowledge_transfer.learning.hardware import resolve_device
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn, transfer_through
from knowledge_transfer.learning.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class StageData:
    """What every fit of an experiment reads; images of all domains, the normalisation by domain, the run's seed."""

    images: ImageSet
    validation: ImageSet
    normalisation: Mapping[str, Any]
    seed: int
    device: str


@dataclass(frozen=True, eq=False)
class StageLabels:
    """The soft labels of a stage, which `teachers`, by key and hash, gave, and how a model learns from them."""

    soft_labels: SoftLabels
    teachers: Mapping[str, str]
    config: DistillationConfig
    validation_scores: Mapping[str, Any] | None = None

    def distillation(self, images: ImageSet, domain: str, recipe: Recipe, view_seed: int) -> Distillation:
        """Return the distillation through the images of one domain.

        Raises ValueError unless the teachers labelled the recipe's views of `images`, those of all domains.
        """
        self.soft_labels.require(
            images, self.teachers, views=recipe.view_count, view_seed=view_seed, augmentation=recipe.augmentation
        )
        given = self.validation_scores
        scores = None if given is None else {key: ValidationScore(**score) for key, score in given.items()}
        return Distillation(self.soft_labels.of(images, domain), self.config, scores)


def views_of(model: type[Student] | type[Target], seed: int) -> int:
    """Return the seed of the views for distillation: one for all students, one for the target."""
    return seed_for(seed, "reverse_distillation" if model is Student else "target_distillation")


def label_stage(
    stage: DistillationStage,
    transfer_images: ImageSet,
    student_images: ImageSet,
    view_seed: int,
    device: str,
    teachers: Sequence[Checkpoint],
) -> SoftLabels:
    """Return each teacher's logits on every view of its domain's images. Raises ValueError if it saw other images."""
    require_present_images([teacher.facts for teacher in teachers], student_images, transfer_images)
    return label(
        list(teachers),
        transfer_through(transfer_images, student_images, stage.distillation),
        views=stage.recipe.view_count,
        view_seed=view_seed,
        augmentation=stage.recipe.augmentation,
        device=resolve_device(device),
        window=stage.recipe.window,
    )


def train_model(
    model: Student | Target,
    data: StageData,
    recipe: Recipe,
    *,
    arm: str = "",
    round_: int = 0,
    start: Checkpoint | None = None,
    labels: StageLabels | None = None,
) -> Checkpoint:
    """Return the checkpoint of `model` after `round_`, trained on the images of its domain.

    A reference `arm` has the seed of the model itself and the views of its distillation: only the teacher differs.
    Raises ValueError for soft labels of other teachers, images or views, and as `learn` does.
    """
    domain, view_seed = model.domain if isinstance(model, Student) else ALL, views_of(type(model), data.seed)
    return learn(
        f"{model.name}_{arm}" if arm else model.name,
        model.architecture,
        FitData(data.images.of(domain), data.validation.of(domain), Normalisation(**data.normalisation[domain])),
        recipe,
        LearnOptions(
            seed=seed_for(data.seed, model.name),
            device=resolve_device(data.device),
            view_seed=view_seed if arm else None,
            replicas=model.devices if isinstance(model, Target) else 1,
        ),
        round_=round_,
        start=start,
        distillation=None if labels is None else labels.distillation(data.images, domain, recipe, view_seed),
    )
