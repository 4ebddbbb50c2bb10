"""Numbers as pages and tables show them."""

import math

GAP = "\N{NO-BREAK SPACE}"


def percent(share: float) -> str:
    """Return a share in percent with one decimal."""
    return f"{100 * share:.1f}"


def points(difference: float) -> str:
    """Return a difference of shares in percentage points, signed."""
    text = f"{100 * difference:+.1f}".replace("-", "−")
    return "0.0" if text in ("+0.0", "−0.0") else text


def p_value(p: float) -> str:
    """Return a p-value, `< 0.001` where that is all one wants to know."""
    return f"<{GAP}0.001" if p < 0.001 else f"{p:.3f}"


def plus_minus(error: float) -> str:
    """Return the standard error of a share behind its value, in percent; nothing where it is not a number."""
    return "" if math.isnan(error) else f" ± {percent(error)}"
