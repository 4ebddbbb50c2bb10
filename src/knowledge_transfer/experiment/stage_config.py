"""The settings of the stages and the roster, of which an experiment is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from knowledge_transfer.learning.checkpoint import Checkpoint
from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.data.domain_mix import Shares
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.data.image_set import ImageSet
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.trial import require_learns
from knowledge_transfer.learning.models.weights import Pretrained
from knowledge_transfer.learning.models.weights import read as read_weights
from knowledge_transfer.learning.train import Normalisation
from knowledge_transfer.learning.training.recipe import Recipe

ReferenceArm = Literal["labels", "no_labels", "label_smoothing", "all_labels", "students_continued", "students_mutual"]


def _as_one_text(given: Any) -> Any:
    # A list in a file; "0 1 3" in `--params`, where a comma separates parameters. Nodes read a text.
    if isinstance(given, str) and not given.replace(" ", "").isdecimal():
        return given
    numbers = given.split() if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
    unfit = any(isinstance(number, bool) or not str(number).isdecimal() for number in numbers)
    if unfit or not numbers or len(set(map(int, numbers))) < len(numbers):
        raise ValueError(f"devices are auto, cpu, mps, or different numbers of GPUs such as [0, 1], got {given}")
    return " ".join(str(int(number)) for number in numbers)


Devices = Annotated[str, BeforeValidator(_as_one_text)]


class DataSource(Config):
    """The source of the images. Set in `globals.yml`, because the catalog reads it too.

    `unlabelled` is a folder of further images, without class folders, that join the transfer set without a label.
    """

    source: str
    path: str
    unlabelled: str | None = None
    image_size: int = Field(ge=8)


class Domain(Config):
    """The source of a domain whose name is not that of a source."""

    source: str
    path: str | None = None

    @model_validator(mode="after")
    def _a_folder_has_a_path(self) -> Domain:
        if self.source == "folder" and not self.path:
            raise ValueError("source 'folder' needs a path: the folder that holds one folder per class")
        return self


class DataPreparation(Config):
    """How the published images are split. A limit is a number of images of each domain (none: all).

    Without `transfer_labels` no stage sees the labels of the transfer set: its images teach by teachers' answers alone.

    `transfer_mix` and `test_mix` are the shares of the domains in a set: proportional, equal, or images by domain.
    """

    transfer_fraction: float = Field(gt=0, lt=1)
    validation_fraction: float = Field(gt=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    test_limit: int | None = Field(default=None, ge=1)
    transfer_labels: bool = True
    transfer_mix: Shares = "proportional"
    test_mix: Shares = "proportional"


class Member(Config):
    """A network of the roster.

    `weights` are those that it starts with: a file, or `pretrained` for those that torchvision or timm publish (none:
    fresh ones). A last layer of other classes stays fresh. `normalisation` is that of the weights unless given; without
    weights that of the student set. With `freeze` the last layer learns alone.
    """

    name: str
    architecture: Architecture
    weights: str | None = Field(default=None, min_length=1)
    normalisation: Normalisation | None = None
    freeze: bool = False

    @field_validator("architecture")
    @classmethod
    def _is_there(cls, architecture: Architecture) -> Architecture:
        architecture.require()
        return architecture

    @property
    def start(self) -> Pretrained | None:
        """The weights that it starts with (none: fresh ones). Raises ValueError, naming the fault, when it has none."""
        return None if self.weights is None else read_weights(self.weights, self.architecture)

    def normalised(self, start: Checkpoint | Pretrained | None, measured: Mapping[str, Any]) -> Normalisation:
        """Return its own normalisation, or that of the weights that it starts with, or the `measured` one."""
        if self.normalisation is not None:
            return self.normalisation
        known = start.facts if isinstance(start, Checkpoint) else start
        return Normalisation(**(measured if known is None else {"mean": known.mean, "deviation": known.deviation}))

    def require_learns(self, images: ImageSet) -> None:
        """Raise ValueError, in one line that names it, unless it can learn the classes of such images."""
        try:
            start, channels = self.start, images.images.shape[1]
            known = self.normalised(start, {"mean": (0.5,) * channels, "deviation": (0.5,) * channels})
            require_learns(
                self.architecture,
                classes=len(images.class_names),
                channels=channels,
                image_size=images.images.shape[2],
                mean=known.mean,
                deviation=known.deviation,
                start=start,
                freeze=self.freeze,
            )
        except ValueError as error:
            raise ValueError(f"{self.name} ({self.architecture}) cannot be trained: {error}") from error


class Student(Member):
    """One member of the roster. `recipe` and `reverse_recipe` change single options of the stages' recipes for it.

    `domain` is a source or an entry of `domains`; `all` without a mix. `name` is its key in the roster; in tools that
    run no hooks, such as kedro-viz, it is empty.
    """

    name: str = ""
    domain: str = ALL
    recipe: dict[str, Any] = {}
    reverse_recipe: dict[str, Any] = {}

    @model_validator(mode="after")
    def _recipes_are_recipes(self) -> Student:
        Recipe().override(self.recipe)  # here first: the error then names the student
        Recipe().override(self.reverse_recipe)
        if views := {"views", "augmentation", "epochs"} & self.reverse_recipe.keys():
            raise ValueError(
                f"reverse_recipe of {self.name} changes {', '.join(sorted(views))}: all students share one labelling "
                "of the same views; change reverse_distillation.recipe instead"
            )
        return self


class Target(Member):
    """The large network. On several `devices` it is trained data-parallel, with the same result."""

    devices: int = Field(default=1, ge=1)


class Training(Config):
    """A stage that learns from labels alone."""

    recipe: Recipe


class DistillationStage(Config):
    """A stage that learns from soft labels.

    `accept` keeps the weights of each learner that are best on validation: those taught, those from before, or those of
    its reference arm on labels; `always` keeps those taught.
    """

    recipe: Recipe
    distillation: DistillationConfig
    accept: Literal["validation", "always"] = "validation"

    @property
    def labelled_views(self) -> tuple[int, Augmentation]:
        """How many views of an image the teacher labels, and their augmentation."""
        plain = self.distillation.plain_view
        return (1, Augmentation()) if plain else (self.recipe.view_count, self.recipe.augmentation)

    @model_validator(mode="after")
    def _a_plain_view_is_not_mixed(self) -> DistillationStage:
        mixes = self.recipe.augmentation.mixup or self.recipe.augmentation.cutmix
        if self.distillation.plain_view and mixes:
            raise ValueError("distillation.plain_view labels one image, recipe.augmentation mixes two: leave one out")
        if self.recipe.balance and self.distillation.soft_loss.compares_images:
            loss = self.distillation.loss
            raise ValueError(f"loss '{loss}' compares the images of a batch, recipe.balance weights each: choose 'kl'")
        return self


class ReverseStage(DistillationStage):
    """Reverse distillation: `teacher` is the target, the ensemble of a student's domain, or both together."""

    teacher: Literal["target", "target_and_students", "students"] = "target"


class Evaluation(Config):
    """The reference arms: `controls` are all, none or some of them."""

    controls: bool | tuple[ReferenceArm, ...] = True
    label_smoothing: float = Field(default=0.1, gt=0, lt=1)


Stage = Literal["before", "after", "ensemble", "target", "taught", "reference"]
ENSEMBLE = "ensemble"
ARGUMENT = "model_"  # before the name of a model among a node's arguments: it may be called like another one
CONTINUED = "continued"  # the reference arm of a student
MUTUAL = "mutual"  # the students, who learn from each other in every step
TAUGHT = "taught"  # a learner after distillation, before it is accepted
TARGET_ARMS = tuple(arm for arm in get_args(ReferenceArm) if not arm.startswith("students"))
STUDENT_ARMS = {"students_continued": CONTINUED, "students_mutual": MUTUAL}


@dataclass(frozen=True)
class Model:
    """A model or an ensemble after `round`; `of` is who it is, `arm` its reference arm or fusion rule, if any."""

    name: str
    round: int
    stage: Stage
    of: str
    arm: str | None = None

    @property
    def columns(self) -> dict[str, object]:
        """Its identity in tables."""
        return {"model": self.name, "stage": self.stage, "round": self.round, "of": self.of, "arm": self.arm}

    @property
    def key(self) -> str:
        """The name of the model among those of its run: `resnet8@0`, as in the facts of its checkpoint."""
        return f"{self.name}@{self.round}"


def models_by_name(arguments: Mapping[str, Checkpoint], asked: str | None) -> dict[str, Checkpoint]:
    """Return the models among a node's arguments by name. Raises ValueError when none of them is `asked` for."""
    models = {key.removeprefix(ARGUMENT): each for key, each in arguments.items()}
    if asked is not None and asked not in (*models, ENSEMBLE):
        raise ValueError(f"there is no model '{asked}'{did_you_mean(asked, [*models, ENSEMBLE])}")
    return models


@dataclass(frozen=True)
class Roster:
    """The students and the target of an experiment with this number of rounds."""

    students: tuple[str, ...]
    target: str
    rounds: int

    @property
    def models(self) -> dict[str, Model]:
        """Every model by key; a run without reference arms trains fewer."""
        rounds, last = range(1, self.rounds + 1), self.rounds
        models = [
            *(Model(name, 0, "before", name) for name in self.students),
            *(Model(name, round_, "after", name) for round_ in rounds for name in self.students),
            *(Model(self.target, round_, "target", self.target) for round_ in rounds),
            *(
                Model(f"{name}_{TAUGHT}", round_, "taught", name, TAUGHT)
                for round_ in rounds
                for name in (self.target, *self.students)
            ),
            *(Model(f"{self.target}_{arm}", last, "reference", self.target, arm) for arm in TARGET_ARMS),
            *(
                Model(f"{name}_{arm}", last, "reference", name, arm)
                for arm in STUDENT_ARMS.values()
                for name in self.students
            ),
        ]
        return {model.key: model for model in models}

    def students_after(self, round_: int) -> tuple[str, ...]:
        """Return the keys of the students after that round."""
        return tuple(f"{name}@{round_}" for name in self.students)

    @property
    def final_target(self) -> str:
        """The key of the target after the last round."""
        return f"{self.target}@{self.rounds}"

    def taught(self, name: str) -> str:
        """Return the key of the target or a student as the last round taught it, accepted or not."""
        return f"{name}_{TAUGHT}@{self.rounds}"
