"""The base of every settings model. Misspelt and renamed keys, infinities and booleans as numbers stop the run."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, model_validator

# Keys and values (by key) of earlier configurations, and what they are called now.
RENAMED = {"teaching": "distillation", "suspects": "failure_modes"}
RENAMED_VALUES = {("schedule", "one_cycle"): "linear", ("fusion", "apart"): "separate"}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the known word closest to `word`, or the list of known words."""
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


class Config(BaseModel):
    """Frozen settings that refuse unknown keys (naming the nearest known one), infinities, and booleans as numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys_and_booleans(cls, given: Any) -> Any:
        for key, value in given.items() if isinstance(given, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"unknown key '{key}'{_hint(str(key), cls.model_fields)}")
            if isinstance(value, str) and (new := RENAMED_VALUES.get((key, value))):
                raise ValueError(f"{key} '{value}' is called '{new}' now")
            kind = cls.model_fields[key].annotation
            numeric = {kind, *get_args(kind)} & {int, float}
            if isinstance(value, bool) and numeric and bool not in {kind, *get_args(kind)}:
                raise ValueError(f"'{key}' is a number, got {str(value).lower()}")
        return given


def _hint(key: str, known: Collection[str]) -> str:
    new = RENAMED.get(key)
    return f": it is called '{new}' now" if new in known else did_you_mean(key, known)
