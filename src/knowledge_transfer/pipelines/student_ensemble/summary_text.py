"""Text of the page of the study student_ensemble: names, columns, notes; and the figures of its source.

The source: Dewalkar, Sinha, Patidar, "Knowledge distillation using ensemble of student networks".
"""

from knowledge_transfer.experiment.study_tables import ACCURACIES, difference_columns, plain_columns
from knowledge_transfer.pipelines.student_ensemble.settings import (
    ALL,
    BOOSTED,
    BOOSTED_MEAN,
    CHOSEN,
    EQUAL,
    EQUAL_VOTE,
    MEAN,
    STUDENT,
    TEACHER,
)
from knowledge_transfer.reporting.page import Column

# By data set and arm: accuracy in [0, 1] on the test set, and parameters as the source counts them.
PUBLISHED: dict[str, dict[str, tuple[float, int]]] = {
    "mnist": {
        TEACHER: (0.9687, 3_213_664),
        STUDENT: (0.952, 100_752),
        "best 16": (0.8764, 190_880),
        "best 24": (0.8976, 443_120),
    },
    "cifar10": {TEACHER: (0.80, 4_194_304), STUDENT: (0.60, 149_040), "best 24": (0.62, 1_329_360)},
}
NAMES = {
    CHOSEN: "ensemble, k by validation",
    ALL: "ensemble of all",
    "best 16": "ensemble of the best 16",
    "best 24": "ensemble of the best 24",
    BOOSTED: "boosted members, SAMME's vote",
    BOOSTED_MEAN: "boosted members, mean of probabilities",
    EQUAL: "as many members, not boosted",
    EQUAL_VOTE: "as many members, not boosted, plurality",
}
ARMS_COLUMNS = (
    *plain_columns("data", "arm"),
    Column("size", "members"),
    Column("parameters", "parameters", "count"),
    Column("counted", "counted as published", "count"),
    *ACCURACIES,
    Column("seeds", "seeds", "count"),
)
BESIDE_COLUMNS = (
    *plain_columns("data", "arm"),
    Column("published", "published %", "percent"),
    Column("test", "ours %", "percent", "test_error"),
    Column("published_parameters", "published parameters", "count"),
    Column("counted", "ours, counted alike", "count"),
    Column("parameters", "ours, all of them", "count"),
)
DIFFERENCES_COLUMNS = (*plain_columns("data", "arm", "against"), *difference_columns("test, points"))
RULES_COLUMNS = (
    Column("rule", "rule"),
    *(
        Column(f"{ensemble}_{what}", f"{ensemble}: {heading}", how, error and f"{ensemble}_{error}")  # type: ignore[arg-type]
        for ensemble in (CHOSEN, ALL)
        for what, heading, how, error in (
            ("validation", "validation %", "percent", None),
            ("test", "test %", "percent", "test_error"),
            ("nll", "NLL", "number", None),
        )
    ),
)
POINTS_COLUMNS = (
    Column("role", "point"),
    Column("loss", "loss"),
    Column("temperature", "temperature", "short"),
    Column("hard_weight", "lambda", "short"),
    Column("alpha", "our alpha", "short"),
    *ACCURACIES,
    Column("difference", "beyond labels, points", "points", "standard_error"),
    Column("verdict", "verdict"),
)
FRONT_COLUMNS = (
    Column("what", "best for its parameters"),
    Column("parameters", "parameters", "count"),
    Column("validation", "validation %", "percent"),
    Column("test", "test %", "percent"),
)
ARMS_NOTE = (
    "±: one standard error over seeds, each with new students and members; there is one teacher. "
    f"Ensembles predict by the mean of probabilities ({MEAN}). Members are ranked, and k is chosen, on validation. "
    "Beside all parameters, those that the source would count: without input channels of convolutions, biases, "
    "normalisation and output layer."
)
SIZES_CAPTION = (
    "Lines are means over seeds, bands reach from the lowest seed to the highest; a dot for each seed is the number of "
    "members that validation chose. Grey steps: best on validation for its parameters; drawn on the test set, they may "
    "go down."
)
PUBLISHED_CAPTION = "Both axes are logarithmic: lower and further left is better. Ours are means over seeds."
RULES_NOTE = (
    "Best on validation first. Weights are fitted on validation: its column is too high for rules with weights. A vote "
    "gives one class all the probability, so its NLL has no meaning."
)
SWEEP_CAPTION = (
    "Bars are one standard error over seeds. Lambda weighs the hard loss, as in the source: it is 1 - alpha. "
    "soft_cross_entropy is the source's loss, kl has its gradient times the square of the temperature."
)
POINTS_NOTE = "Chosen on validation; only these points were tested. Paired by seed."
VOTES_CAPTION = (
    "Members of one shape. Boosted ones are trained in sequence on images weighted by SAMME; the others have the same "
    "first weights and order of images, without image weights. Errors and weights of the members are in the tables of "
    "the rounds. Bars: one standard error."
)
SOURCE = (
    "Dewalkar, Sinha and Patidar teach one student, and a grid of tiny ones of which the best 16 and 24 predict "
    "together, by lambda H(y, q) + (1 - lambda) H(p, q), the second term at a temperature: best lambda 0.75, "
    "temperature 10. They report on MNIST a teacher at 96.87 %, a student at 95.2 %, single tiny students at 70 to "
    "80 %, the best 16 at 87.64 % and the best 24 at 89.76 %; on CIFAR-10 80 %, 60 %, 50 to 60 %, and 62 % for 24.",
    "Their counts of parameters leave out the input channels of convolutions, all biases and the output layer: of the "
    "student on MNIST they count 7·7·8·256 + 2·25·8 = 100,752. The 1,329,360 of the 24 on CIFAR-10 are the whole grid "
    "of conv {4, 8, 16, 32}, kernel {3, 5}, FC {32, 64, 128} with 7·7 positions before the linear layer, which is what "
    "MNIST's 28 pixels leave after two poolings; images of 32 pixels leave 8·8. Ours have 32 pixels on MNIST too. "
    "Their counts for the two single networks on CIFAR-10 cannot be reproduced: counted as on MNIST, that student "
    "would have 263,152 parameters at 32 pixels.",
    "Where the accuracies differ, the likely reason, which no arm here isolates, is training: ours has batch "
    "normalisation and an annealed rate, the source mentions neither. Single members are in the first table, beside "
    "its 70 to 80 %: the better they are, the less an ensemble can gain. Without the squared temperature as a factor, "
    "the soft term at temperature 10 has about a hundredth of the gradient of kl, so the published best should be "
    "close to labels alone; the sweep has all three.",
)
