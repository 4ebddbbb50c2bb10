"""What the source reports: Zuchniak 2023, arXiv 2302.07215, and the notebook `results` of its repository, MTKD."""

import math

# CIFAR-10, ResNet50V2 taught by ResNet50V2s: accuracy on test and its standard error, by method, number of teachers and
# the fraction of the training images that each teacher learned from.
_FRACTIONS = (1.0, 0.9, 0.8, 0.7, 0.6)
_TABLE = {
    "output_avg": {
        2: "80.95 .48 80.69 .44 80.84 .72 80.90 .31 78.28 .94",
        3: "80.95 .93 78.24 .50 80.28 .71 81.17 .31 79.21 .41",
        4: "79.02 1.18 79.33 .69 81.21 .60 80.02 1.12 79.82 .57",
        5: "83.11 .38 82.25 .70 81.72 .31 79.94 1.18 80.41 .74",
    },
    "loss_avg": {
        2: "82.08 .54 82.07 .34 81.03 .62 80.78 .34 79.94 .66",
        3: "81.18 .89 81.89 .25 81.48 .40 81.64 .40 80.61 .64",
        4: "82.84 .36 81.92 .43 81.83 .39 81.44 .36 79.94 1.05",
        5: "82.82 .45 82.17 .49 81.26 .48 82.01 .50 80.91 .66",
    },
    "mimic_all": {
        2: "82.72 .25 82.68 .38 82.09 .24 81.28 .22 81.10 .50",
        3: "83.11 .22 82.76 .31 83.08 .31 82.14 .47 81.20 .51",
        4: "83.22 .21 82.73 .19 82.48 .23 82.33 .25 81.68 .67",
        5: "83.66 .31 83.00 .32 83.55 .22 82.19 .49 81.86 .41",
    },
}
PUBLISHED: dict[tuple[str, int, float], tuple[float, float]] = {
    (method, members, fraction): (numbers[2 * place] / 100, numbers[2 * place + 1] / 100)
    for method, by_members in _TABLE.items()
    for members, line in by_members.items()
    for numbers in [[float(number) for number in line.split()]]
    for place, fraction in enumerate(_FRACTIONS)
}


def is_published(data: str) -> bool:
    """Return whether the table is about that data set."""
    return data.startswith("cifar10") and not data.startswith("cifar100")


def published_gap() -> tuple[float, float]:
    """Return the mean over all cells of loss_avg less output_avg, and its standard error by those of the table."""
    cells = [(members, fraction) for method, members, fraction in PUBLISHED if method == "loss_avg"]
    pairs = [(PUBLISHED["loss_avg", k, part], PUBLISHED["output_avg", k, part]) for k, part in cells]
    gap = sum(ours[0] - theirs[0] for ours, theirs in pairs) / len(pairs)
    return gap, math.sqrt(sum(ours[1] ** 2 + theirs[1] ** 2 for ours, theirs in pairs)) / len(pairs)
