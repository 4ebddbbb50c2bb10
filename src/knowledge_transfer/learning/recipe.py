"""Recipe: every knob of one fit, and how a learner is taught."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from knowledge_transfer.learning import fusion, losses
from knowledge_transfer.learning.knobs import Knobs, nearest


class Augmentation(Knobs):
    """What makes one view differ from another; the default changes nothing.

    `crop`: largest shift in pixels, edges reflected; `flip`: mirror left-right with probability 1/2, or `alternating`:
    half of the images in one view and the other half in the next (Jordan 2024, arXiv 2404.00498); `cutout`: side of the
    square set to the middle grey, in pixels; `mixup`, `cutmix`: the Beta parameter of the share that a partner image
    gets (Zhang 2018, Yun 2019), 0 for none.
    """

    crop: int = Field(default=0, ge=0)
    flip: bool | Literal["alternating"] = False
    cutout: int = Field(default=0, ge=0)
    mixup: float = Field(default=0.0, ge=0, le=1)
    cutmix: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _one_mixture(self) -> Augmentation:
        if self.mixup and self.cutmix:
            raise ValueError("mixup and cutmix cannot be combined: set one of them to 0")
        return self


class Recipe(Knobs):
    """Every knob of one fit.

    `label_smoothing` is spread over the classes of an image's own domain; `warmup` is the fraction of all steps over
    which the rate rises; `ema` the decay of the averaged weights per step (none: the last weights answer); `views` how
    many different views an image has, cycled over the epochs (none: a new one each epoch); `keep` which epoch's
    weights are returned, the last or the best on validation; `precision` auto takes bf16 where the hardware multiplies
    it natively. `muon` is for convolutions and hidden layers, with AdamW for the rest, whose rates suit it. Of a
    `window` so many images at once are on the device (none: all) and as many read ahead, in blocks from where they are
    kept; the order is random within a window and among the blocks.
    """

    epochs: int = Field(default=10, ge=1)
    batch_size: int = Field(default=128, ge=2)
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["one_cycle", "cosine", "constant"] = "one_cycle"
    warmup: float = Field(default=0.25, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    gradient_clip: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    views: int | None = Field(default=None, ge=1)
    augmentation: Augmentation = Augmentation()
    keep: Literal["last", "best"] = "last"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    window: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _a_partner_is_in_the_window(self) -> Recipe:
        if self.window is not None and (self.augmentation.mixup or self.augmentation.cutmix):
            raise ValueError("a partner of mixup or cutmix may be any image: leave window out, or set both to 0")
        return self

    @property
    def view_count(self) -> int:
        """Number of different views of an image over the whole fit."""
        return self.views or self.epochs

    def override(self, changes: dict[str, Any]) -> Recipe:
        """Return this recipe with `changes` applied and validated; nested augmentation knobs change one by one."""
        merged = {**self.model_dump(), **changes}
        merged["augmentation"] = {**self.augmentation.model_dump(), **(changes.get("augmentation") or {})}
        return Recipe(**merged)


class Teaching(Knobs):
    """How soft labels enter the loss `alpha * soft + (1 - alpha) * cross-entropy`.

    `fusion` makes one teacher of several; `apart` instead takes the mean of the soft losses to each of them, to each
    from a head of its own where the learner has heads. In a mix of domains the soft loss is taken within each image's
    block, and `gamma` times the domain loss (-log of the block's probability) is added. `top_k` keeps the k members of
    each domain that are best on validation (none: all); `student_set` adds the student set to the images that the
    learner sees; `start` is where a learner's weights come from.
    """

    alpha: float = Field(default=0.9, ge=0, le=1)
    gamma: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=4.0, gt=0)
    loss: str = "kl"
    loss_options: dict[str, float] = {}
    fusion: str = "mean_probabilities"
    top_k: int | None = Field(default=None, ge=1)
    student_set: bool = False
    start: Literal["trained", "fresh"] = "trained"

    @field_validator("fusion")
    @classmethod
    def _known_fusion(cls, rule: str) -> str:
        known = (*fusion.FUSION_RULES, *fusion.VOTING_RULES, fusion.APART)
        if rule not in known:
            raise ValueError(f"unknown fusion '{rule}'{nearest(rule, known)}")
        return rule

    @model_validator(mode="after")
    def _loss_and_options_fit(self) -> Teaching:
        losses.resolve(self.loss, {"temperature": self.temperature, **self.loss_options})
        if "temperature" in self.loss_options:
            raise ValueError("the temperature is teaching.temperature, for the teacher and the loss alike")
        if self.loss == "mse" and self.fusion in fusion.VOTING_RULES:
            raise ValueError(f"loss 'mse' compares logits, '{self.fusion}' elects one class and has none: choose 'kl'")
        if self.fusion == "stacked" and self.top_k is not None:
            raise ValueError("fusion 'stacked' is one layer on all members: leave top_k out or choose 'weighted'")
        if self.loss == "dkd" and self.alpha == 1:
            raise ValueError("loss 'dkd' reads the labels, alpha 1 withholds them: lower alpha or choose 'kl'")
        return self
