"""Tables over seeds: means, standard errors, and whether a difference between arms is more than chance."""

import math
from collections.abc import Sequence

import pandas as pd

_ROUNDING = 1e-12


def over_seeds(table: pd.DataFrame, by: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Return by group the number of `seeds`, and of each value the mean and standard error `<value>_error`."""
    rows = []
    for key, group in table.groupby(list(by), sort=False):
        named = dict(zip(by, key if isinstance(key, tuple) else (key,), strict=True))
        means = {value: group[value].mean() for value in values}
        errors = {f"{value}_error": group[value].std(ddof=1) / math.sqrt(len(group)) for value in values}
        rows.append({**named, "seeds": len(group), **means, **errors})
    return pd.DataFrame(rows)


def paired(a: pd.Series, b: pd.Series) -> dict[str, float | str]:
    """Return the mean difference of a less b, both indexed by seed, its standard error, Student's p and a verdict.

    Verdicts: gain or loss for p < 0.05; none within one standard error; else, or if p is unknown, not beyond chance.
    """
    differences = (a - b).dropna()
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return {"difference": mean, "standard_error": math.nan, "p_value": math.nan, "verdict": "one seed"}
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    # Seeds that differ by the same few images have no spread but rounding, which is no certainty.
    if error < _ROUNDING:
        error, p = 0.0, 1.0 if abs(mean) < _ROUNDING else math.nan
    else:
        from scipy.stats import t as student  # half a second that the start of a run would wait for

        p = float(2 * student.sf(abs(mean) / error, n - 1))
    verdict = "none" if abs(mean) <= error else "not beyond chance" if not p < 0.05 else "gain" if mean > 0 else "loss"
    return {"difference": mean, "standard_error": error, "p_value": p, "verdict": verdict}
