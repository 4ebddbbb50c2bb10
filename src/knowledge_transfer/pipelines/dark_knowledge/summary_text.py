"""Text of the page of the study dark_knowledge: names, columns, notes."""

from knowledge_transfer.experiment.study_tables import ACCURACIES, difference_columns, plain_columns
from knowledge_transfer.reporting.page import Column

NAMES = {"teacher": "teacher", "cnn": "custom CNN", "small_cnn": "much smaller CNN"}
ARMS = {"teacher": "", "taught": "with", "alone": "without"}


def name_of(learner: str) -> str:
    """Return the name of a learner, or of a failure mode, as the page shows it."""
    return NAMES.get(learner, learner.replace("_", " "))


# Of the source, on CIFAR-10: accuracy of its custom CNN after each of ten epochs, of its ResNet50 at both ends.
PUBLISHED = {
    "taught": (0.4017, 0.4533, 0.4900, 0.5192, 0.5419, 0.5560, 0.5649, 0.5788, 0.5867, 0.5962),
    "alone": (0.2597, 0.3762, 0.4451, 0.4770, 0.5124, 0.5312, 0.5448, 0.5586, 0.5747, 0.5855),
    "teacher": (0.7537, 0.8218),
}
ARM_COLUMNS = [
    *plain_columns("data"),
    Column("learner", "network"),
    Column("arm", "soft loss"),
    Column("parameters", "parameters", "count"),
    *ACCURACIES,
    *difference_columns("gain, points"),
    Column("nll", "test NLL", "number"),
    Column("seeds", "seeds", "count"),
]
ARM_NOTE = (
    "Gain: of the soft loss, on the test set. ±: one standard error over seeds; gains are paired by seed, p is "
    "Student's. There is one teacher: its own spread is in no error."
)
EPOCH_COLUMNS = [
    Column("epoch", "epoch", "count"),
    Column("taught", "CNN, with %", "percent", "taught_error"),
    Column("alone", "without %", "percent", "alone_error"),
    Column("difference", "points", "points", "standard_error"),
    Column("published_taught", "published, with %", "percent"),
    Column("published_alone", "without %", "percent"),
    Column("small_taught", "smaller CNN, with %", "percent", "small_taught_error"),
    Column("small_alone", "without %", "percent", "small_alone_error"),
    Column("small_difference", "points", "points", "small_standard_error"),
]
EPOCH_CAPTION = (
    "Accuracy on the validation set: lines are means over seeds, bands reach from the lowest seed to the highest. "
    "Dashed: the published curves, of CIFAR-10 and a custom CNN that is not described further."
)
EPOCH_NOTE = (
    "With and without the soft loss, on the validation set; the test set is read once, at the end. ±: one standard "
    "error over seeds, for differences that of paired differences. Published: CIFAR-10."
)
FAILURE_MODE_COLUMNS = [
    Column("learner", "network"),
    Column("differs", "what differs", "prose"),
    Column("accuracy", "right %", "percent", "accuracy_error"),
    Column("silent", "silent %", "percent"),
    Column("spread", "spread", "number"),
    Column("finding", "finding"),
]
FAILURE_MODE_CAPTION = "All are taught with the soft loss, from the same soft labels, and see the same images."
FAILURE_MODE_NOTE = (
    "On the validation set. Silent: share of dead ReLU units in the worst layer; at 100 % no signal and no gradient "
    "passes. Spread: standard deviation of a class's probability over images. At chance: the number of seeds within "
    "three standard errors of guessing."
)
WHY = (
    "The source reports that a much smaller CNN stayed at chance, without its layers or recipe, so the cause is "
    "unknown. Possible causes can be tried. Each failure mode is the smaller CNN with one fault, mostly without "
    "normalisation. One has normalisation and a rate that is too high: normalisation follows only the convolutions and "
    "does not protect the hidden layer. All learn from the same soft labels.",
    "Two opposite conditions have the same accuracy, chance. A network is dead after too large a step: a layer is "
    "silent for every image, predictions do not depend on the image, no gradient passes; more epochs do not help. A "
    "network is alive but has not moved if its steps are too small: its units fire, its predictions hardly differ; "
    "more epochs help.",
    "The published curve suggests small steps: without the soft loss its larger CNN is right on 26 % after one epoch "
    "of CIFAR-10, and still gains a point an epoch after ten.",
)
SOURCE = (
    "“Learning dark knowledge from teacher” trains a ResNet50 at 224 pixels with ImageNet's weights and normalisation, "
    "then a custom CNN with the loss alpha T² KL + (1 − alpha) CE, alpha 0.5, T 1, and without the soft part, a single "
    "curve each. After ten epochs it has 59.6 % with and 58.6 % without; the gain is 14 points after the first epoch "
    "and one after the tenth: the soft labels mainly give speed.",
    "At temperature 1 the soft loss of a very confident teacher is nearly the loss of the labels; only its doubts are "
    "left to learn from. Our gain has an error, over seeds.",
)
