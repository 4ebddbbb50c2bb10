"""Settings of the study student_ensemble."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.experiment.study_config import Blocks, Model, StudySet, StudySettings, require_one_teacher
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.losses.distillation import SOFT_LOSSES
from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.training.recipe import Recipe

Size = Annotated[int, Field(ge=1)]
Alpha = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0)]
TEACHER, STUDENT, MEMBERS = "teacher", "student", "members"
BOOSTED, EQUAL = "boosted", "equal"  # members trained in sequence, and as many of the same shape that are not
ON_LABELS = " on labels"  # behind the name of an arm: its models without the teacher
BOOSTED_MEAN, EQUAL_VOTE = f"{BOOSTED} mean", f"{EQUAL} plurality"
CHOSEN, ALL, MEAN, PLURALITY = "chosen", "all", "mean_probabilities", "plurality"
BEST_FIRST, SMALLEST_FIRST = "best on validation first", "smallest first"


class Shape(Config):
    """A tiny student: in each block one convolution of `width` channels, then one linear layer of `hidden` units."""

    width: Size
    kernel: Size
    hidden: Size

    @property
    def name(self) -> str:
        """Its name in datasets and tables."""
        return f"conv{self.width}_kernel{self.kernel}_linear{self.hidden}"


class Grid(Config):
    """`members` of every combination of `widths`, `kernels` and `hidden`; each of `blocks` convolutions is pooled."""

    widths: tuple[Size, ...] = Field(min_length=1)
    kernels: tuple[Size, ...] = Field(min_length=1)
    hidden: tuple[Size, ...] = Field(min_length=1)
    blocks: Size = 2
    normalise: bool = True
    members: Size = 1
    recipe: Recipe = Recipe()

    @field_validator("widths", "kernels", "hidden")
    @classmethod
    def _are_distinct(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"a size occurs twice in {list(sizes)}: raise `members` for more of one shape")
        return sizes

    @model_validator(mode="after")
    def _is_an_ensemble(self) -> Grid:
        if self.size < 2:
            raise ValueError("a grid of one member is no ensemble: add a size, or raise `members`")
        return self

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Every combination."""
        return tuple(
            Shape(width=width, kernel=kernel, hidden=hidden)
            for width in self.widths
            for kernel in self.kernels
            for hidden in self.hidden
        )

    @property
    def size(self) -> int:
        """The number of members of the ensemble of all."""
        return len(self.shapes) * self.members

    def architecture(self, shape: Shape) -> Architecture:
        """Return the network of that shape."""
        layers = {
            "convolutions": [[shape.width]] * self.blocks,
            "kernel": shape.kernel,
            "hidden": [shape.hidden],
            "normalise": self.normalise,
        }
        return Architecture.model_validate({"kind": "cnn", "layers": layers})


class Sweep(Config):
    """Members of one shape taught with every temperature, alpha and loss, once a seed, with the grid's recipe."""

    shape: Shape
    temperatures: tuple[Temperature, ...] = Field(min_length=1)
    alphas: tuple[Alpha, ...] = Field(min_length=1)
    losses: tuple[str, ...] = ("soft_cross_entropy", "kl")

    def points(self, distillation: DistillationConfig) -> dict[str, DistillationConfig]:
        """Return every way to be taught, by its name: `kl_temperature10_alpha0_25`; at alpha 0 there is one."""
        found: dict[str, DistillationConfig] = {}
        for loss in self.losses:
            for alpha in self.alphas:
                for temperature in self.temperatures:
                    changes = {"loss": loss, "alpha": alpha, "temperature": temperature, "loss_options": {}}
                    name = f"{loss}_temperature{temperature:g}_alpha{alpha:g}".replace(".", "_") if alpha else "alpha0"
                    found.setdefault(name, DistillationConfig(**{**distillation.model_dump(), **changes}))
        return found


class Boosting(Config):
    """`members` of one shape trained in sequence on reweighted images, and as many that are not; grid's recipe."""

    shape: Shape
    members: int = Field(ge=2)


class Set(StudySet):
    """A data set: its teacher, the single student, the grid of tiny ones; a sweep and boosting where they are given."""

    teacher: Model
    student: Model
    grid: Grid
    sweep: Sweep | None = None
    boosting: Boosting | None = None

    @model_validator(mode="after")
    def _share_one_labelling(self) -> Set:
        student, grid = self.student.recipe, self.grid.recipe
        for what in ("view_count", "augmentation", "window"):
            if getattr(student, what) != getattr(grid, what):
                raise ValueError(
                    "student and grid learn from one labelling: give their recipes the same views, augmentation, window"
                )
        return self


class Settings(StudySettings):
    """On every data set a teacher, a student and `seeds` ensembles; if `untaught`, each also on labels alone."""

    sets: Blocks[Set] = Field(min_length=1)
    distillation: DistillationConfig = DistillationConfig(alpha=0.25, temperature=10, loss="soft_cross_entropy")
    untaught: bool = True

    @model_validator(mode="after")
    def _members_can_learn(self) -> Settings:
        require_one_teacher(self.distillation)
        for name, each in self.sets.items():
            if each.boosting and self.distillation.soft_loss.compares_images:
                loss = self.distillation.loss
                raise ValueError(f"boosting weighs each image, '{loss}' compares those of a batch: choose loss 'kl'")
            if each.sweep:
                if unknown := set(each.sweep.losses) - SOFT_LOSSES.keys():
                    raise ValueError(f"sets.{name}.sweep.losses: unknown loss '{min(unknown)}'")
                each.sweep.points(self.distillation)
        return self
