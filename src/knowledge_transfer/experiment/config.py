"""The parameters of a run as one checked model, from which the pipelines are built."""

from __future__ import annotations

import zlib
from typing import Any, Literal, get_args

from pydantic import Field, model_validator

from knowledge_transfer.experiment.stage_config import (
    STUDENT_ARMS,
    TARGET_ARMS,
    TAUGHT,
    DataPreparation,
    DataSource,
    Devices,
    DistillationStage,
    Domain,
    Evaluation,
    ReferenceArm,
    ReverseStage,
    Student,
    Target,
    Training,
)
from knowledge_transfer.learning.config import Config, did_you_mean
from knowledge_transfer.learning.data.domains import ALL
from knowledge_transfer.learning.ensembles.fusion import FITTED_RULES, SEPARATE

VARIANTS = ("heterogeneous",)  # experiments that differ from the main one in the parameters under their name
STUDIES = ("student_ensemble", "alpha_study", "dark_knowledge", "multi_teacher")  # with parameters of their own there
PARTS = (*VARIANTS, *STUDIES)


class Experiment(Config):
    """Every parameter of a run.

    Students of different domains make a mix: the target learns the union of their label spaces. The experiment is
    repeated with `seeds` seeds, from `seed` on, each in a folder of its own. `devices` are auto
    (every GPU, else the CPU), cpu, mps, or GPUs by number. `per_device` nodes may share a GPU. `images` are a file or
    folder that `model` classifies in the pipeline `predict` (none: the model that is best on validation). `export`
    writes it in a `format`.
    """

    seed: int = Field(ge=0, lt=2**32)
    seeds: int = Field(default=1, ge=1)
    devices: Devices
    per_device: int = Field(default=1, ge=1)
    rounds: int = Field(ge=1)
    images: str | None = None
    model: str | None = None
    format: Literal["onnx", "torch"] = "onnx"
    data: DataSource
    domains: dict[str, Domain] = {}
    students: dict[str, Student]
    target: Target
    data_preparation: DataPreparation
    student_training: Training
    target_distillation: DistillationStage
    reverse_distillation: ReverseStage
    evaluation: Evaluation

    @model_validator(mode="before")
    @classmethod
    def _name_students_by_their_key(cls, given: Any) -> Any:
        students = given.get("students") if isinstance(given, dict) else None
        if not isinstance(students, dict) or not students:
            return given
        # A key without a block removes a student of conf/base.
        present = {key: block for key, block in students.items() if block is not None}
        named = {key: {"name": key, **block} if isinstance(block, dict) else block for key, block in present.items()}
        return {**given, "students": named}

    @model_validator(mode="after")
    def _names_are_unambiguous(self) -> Experiment:
        if not self.students:
            raise ValueError("students is empty: an ensemble needs at least one member")
        for key, student in self.students.items():
            if student.name != key:
                raise ValueError(f"student '{key}' calls itself '{student.name}': leave `name` out")
        names = (*self.students, self.target.name)
        arms = {f"{self.target.name}_{arm}" for arm in get_args(ReferenceArm)}
        arms |= {f"{name}_{arm}" for name in self.students for arm in STUDENT_ARMS.values()} | {
            f"{name}_{TAUGHT}" for name in names
        }
        if clash := sorted(arms.intersection(names)):
            raise ValueError(f"'{clash[0]}' is the name of another model of the run: call it something else")
        for name in names:
            if not name.isidentifier() or "_round" in name or name.startswith(("ensemble", *PARTS)):
                raise ValueError(
                    f"'{name}' names datasets: use letters, digits, underscores, not '_round', "
                    f"not 'ensemble' in front, nor {', '.join(PARTS)}"
                )
        if self.target.name in self.students:
            raise ValueError(f"the target and a student are both called '{self.target.name}'")
        return self

    @property
    def mix(self) -> tuple[str, ...]:
        """The domains in the order of the roster; only `all` without a mix."""
        return tuple(dict.fromkeys(student.domain for student in self.students.values()))

    def namespace(self, stage: str, round_: int) -> str:
        """Return the namespace of one round of a stage; every round of several has its own."""
        return stage if self.rounds == 1 else f"round_{round_}.{stage}"

    @property
    def reference_arms(self) -> tuple[ReferenceArm, ...]:
        """The arms to train."""
        controls = self.evaluation.controls
        if not isinstance(controls, bool):
            return controls
        arms: tuple[ReferenceArm, ...] = get_args(ReferenceArm) if controls else ()
        unfit = {"no_labels"} if self._reads_labels else set()
        unfit |= set() if self._can_be_mutual else {"students_mutual"}
        unfit |= set() if self.data_preparation.transfer_labels else {"all_labels"}
        return tuple(arm for arm in arms if arm not in unfit)

    @property
    def reference_models(self) -> tuple[str, ...]:
        """The names of the models that the arms train, those of the target first."""
        arms = [arm for arm in get_args(ReferenceArm) if arm in self.reference_arms]
        of_target = tuple(f"{self.target.name}_{arm}" for arm in arms if arm in TARGET_ARMS)
        of_students = tuple(
            f"{name}_{own}" for arm, own in STUDENT_ARMS.items() if arm in arms for name in self.students
        )
        return (*of_target, *of_students)

    @property
    def _can_be_mutual(self) -> bool:
        return len(self.mix) == 1 and len(self.students) > 1

    @property
    def _reads_labels(self) -> bool:
        return self.target_distillation.distillation.soft_loss.reads_labels

    @model_validator(mode="after")
    def _arms_can_learn(self) -> Experiment:
        if "students_mutual" in self.reference_arms and not self._can_be_mutual:
            raise ValueError("evaluation.controls: students_mutual is for two students or more of one domain")
        if self._reads_labels and "no_labels" in self.reference_arms:
            loss = self.target_distillation.distillation.loss
            raise ValueError(
                f"evaluation.controls: no_labels withholds the labels that loss '{loss}' reads: leave it out"
            )
        if len(self.mix) > 1 and not self.target_distillation.distillation.gamma and "no_labels" in self.reference_arms:
            raise ValueError(
                "evaluation.controls: no_labels at gamma 0 never learns which domain is which: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _labels_are_there(self) -> Experiment:
        if self.data_preparation.transfer_labels:
            return self
        if "all_labels" in self.reference_arms:
            raise ValueError("evaluation.controls: all_labels reads what data_preparation.transfer_labels withholds")
        for name in ("target_distillation", "reverse_distillation"):
            distillation = getattr(self, name).distillation
            if distillation.soft_loss.reads_labels:
                raise ValueError(
                    f"{name}.distillation.loss '{distillation.loss}' reads the labels that "
                    "data_preparation.transfer_labels withholds: choose 'kl'"
                )
            if not all(each.alpha for each in distillation.choices) and not distillation.student_set:
                raise ValueError(
                    f"{name}.distillation.alpha is 0 and data_preparation.transfer_labels is false: nothing is left to "
                    "learn from"
                )
        return self

    @model_validator(mode="after")
    def _domains_make_a_mix(self) -> Experiment:
        if len(self.mix) > 1 and self.data.unlabelled:
            raise ValueError("data.unlabelled is for one domain: in a mix, nobody knows which domain its images are of")
        if len(self.mix) > 1 and ALL in self.mix:
            without = [name for name, student in self.students.items() if student.domain == ALL]
            raise ValueError(f"{', '.join(without)} has no domain: in a mix, every student learns one")
        for domain in self.mix:
            if not domain.isidentifier():
                raise ValueError(f"domain '{domain}' names datasets: use letters, digits and underscores")
        for name in ("transfer_mix", "test_mix"):
            shares = getattr(self.data_preparation, name)
            for domain in shares if isinstance(shares, dict) else ():
                if domain not in self.mix:
                    raise ValueError(
                        f"data_preparation.{name}: no student learns '{domain}'{did_you_mean(domain, self.mix)}"
                    )
        return self

    @model_validator(mode="after")
    def _recipes_fit(self) -> Experiment:
        if self.target.devices > 1 and self.target_distillation.recipe.window is not None:
            raise ValueError("target_distillation.recipe.window is for one device: leave it out, or target.devices")
        for student in self.students.values():
            self.student_training.recipe.override(student.recipe)
            self.reverse_distillation.recipe.override(student.reverse_recipe)
        return self

    @model_validator(mode="after")
    def _members_can_be_chosen(self) -> Experiment:
        reverse = self.reverse_distillation
        if reverse.teacher == "target" and (reverse.distillation.top_k or reverse.distillation.fusion in FITTED_RULES):
            fitted = ", ".join(rule for rule in FITTED_RULES)
            raise ValueError(f"reverse_distillation has one teacher, the target: no top_k, no fusion that is {fitted}")
        top_k = self.target_distillation.distillation.top_k
        learners = [student.domain for student in self.students.values()]
        most = max(learners.count(domain) for domain in self.mix)
        if top_k is not None and top_k > most:
            of = "the roster has" if len(self.mix) == 1 else "no domain has more students than"
            raise ValueError(f"target_distillation.distillation.top_k is {top_k}, {of} {most}")
        is_separate, heads = self.target_distillation.distillation.fusion == SEPARATE, self.target.architecture.heads
        if is_separate and heads not in (1, members := min(top_k or most, most)):
            raise ValueError(f"target.architecture.heads is {heads}, separate teachers are {members}")
        return self


def parameters_of(parameters: dict[str, Any], variant: str) -> dict[str, Any]:
    """Return the parameters of that variant or study; without a name those of the main experiment."""
    if variant:
        return dict(parameters.get(variant, {}))
    return {key: value for key, value in parameters.items() if key not in PARTS}


def seed_for(seed: int, name: str) -> int:
    """Return the seed of one model, which does not depend on the other models of the roster."""
    return (seed * 1_000_003 + zlib.crc32(name.encode())) % 2**31
