"""Recipe: every setting of one fit."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.data.augmentation import Augmentation


class Recipe(Config):
    """Every setting of one fit.

    `min_steps` asks for more epochs where so few images make fewer steps. `label_smoothing` is spread over the classes
    of an image's own domain. With `balance` every class weighs the same in the loss, however many images it
    has. `warmup` is the fraction of all steps over which the rate rises. `ema` is the decay per step of the averaged
    weights (none: the last weights are evaluated). `views` is the number of different views of an image, cycled over
    the epochs (none: a new one each epoch). `keep` chooses the epoch whose weights are returned: the last, or the best
    on validation. `precision` auto takes bf16 where the hardware multiplies it natively. `muon` uses the learning rates
    of AdamW. `window` is the number of images that are on the device at once (none: all); the order is then random
    within a window and among blocks of images.
    """

    epochs: int = Field(default=10, ge=1)
    min_steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=128, ge=2)
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup: float = Field(default=0.25, ge=0, lt=1)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    balance: bool = False
    gradient_clip: float | None = Field(default=None, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    views: int | None = Field(default=None, ge=1)
    augmentation: Augmentation = Augmentation()
    keep: Literal["last", "best"] = "last"
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    window: int | None = Field(default=None, ge=2)

    @model_validator(mode="after")
    def _partners_are_on_the_device(self) -> Recipe:
        if self.window is not None and (self.augmentation.mixup or self.augmentation.cutmix):
            raise ValueError("a partner of mixup or cutmix may be any image: leave window out, or set both to 0")
        return self

    @property
    def view_count(self) -> int:
        """The number of different views of an image over the whole fit."""
        return self.views or self.epochs

    def for_images(self, count: int, *, has_soft_labels: bool) -> Recipe:
        """Return this recipe with the epochs that `min_steps` asks for on `count` images; stored views stay as many."""
        epochs = -(-self.min_steps // max(1, count // self.batch_size))
        if epochs <= self.epochs:
            return self
        return self.override({"epochs": epochs, "views": self.view_count if has_soft_labels else self.views})

    def override(self, changes: dict[str, Any]) -> Recipe:
        """Return this recipe with `changes` applied and validated; nested augmentation settings change one by one."""
        merged = {**self.model_dump(), **changes}
        merged["augmentation"] = {**self.augmentation.model_dump(), **(changes.get("augmentation") or {})}
        return Recipe(**merged)
