"""Text of the page of the study dark_knowledge: names, columns, notes."""

from __future__ import annotations

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
    Column("data", "data"),
    Column("learner", "network"),
    Column("arm", "soft loss"),
    Column("parameters", "parameters", "count"),
    Column("validation", "validation %", "percent", "validation_error"),
    Column("test", "test %", "percent", "test_error"),
    Column("difference", "gain, points", "points", "standard_error"),
    Column("p_value", "p", "p"),
    Column("verdict", "verdict"),
    Column("nll", "test NLL", "number"),
    Column("seeds", "seeds", "count"),
]
ARM_NOTE = (
    "Gain: what the soft loss adds on the test set. ±: one standard error over seeds; gains are paired by seed, p is "
    "Student's. The teacher is one, so that its own chance is in no error."
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
    "Dashed: the published curves, of CIFAR-10 and a custom CNN of which nothing else is known."
)
EPOCH_NOTE = (
    "With and without the soft loss, on the validation set; the test set is read once, at the end. ±: one standard "
    "error over seeds, of the differences one of paired differences. Published: CIFAR-10."
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
    "On the validation set. Silent: units behind a ReLU that fire for no image, in the layer where most are; at 100 % "
    "nothing passes, no gradient either. Spread: by how much a class's probability varies from image to image. At "
    "chance: so many of the seeds within three standard errors of guessing."
)
WHY = (
    "The source reports that a much smaller CNN stayed at chance. Its layers and recipe are not known here: "
    "what kept it there is unknown, too. What would keep it there can be tried. Each failure mode is the smaller CNN "
    "with one fault, mostly without normalisation, as the plainest networks are. One keeps normalisation at a rate "
    "that is too high: it follows the convolutions alone and does not protect the hidden layer. All are taught by the "
    "same soft labels.",
    "At chance there are two conditions that look alike in a table of accuracies and are opposites. A network is dead "
    "when a step was too large: a layer is silent for every image, its predictions no longer depend on the image, and "
    "no gradient passes that could wake it; more epochs do not help. A network is alive, but has not moved, when its "
    "steps are too small for the number of epochs: its units fire, its predictions hardly differ; more epochs do help.",
    "The published curve itself suggests small steps: without the soft loss its larger CNN had seen every training "
    "image of CIFAR-10 once and was right on 26 %, and still rose by a point an epoch after ten.",
)
SOURCE = (
    "“Learning dark knowledge from teacher” trains a ResNet50 at 224 pixels with ImageNet's weights and normalisation, "
    "then a custom CNN with the loss alpha T² KL + (1 − alpha) CE, alpha 0.5, T 1, and without the soft part, a single "
    "curve each. After ten epochs it has 59.6 % with and 58.6 % without; the gain is 14 points after the first epoch "
    "and one after the tenth: what the soft labels give is speed above all.",
    "At temperature 1 the soft loss of a teacher that is nearly always sure is nearly the loss of the labels: what is "
    "left to learn from are its doubts. Our gain has an error, over seeds.",
)
