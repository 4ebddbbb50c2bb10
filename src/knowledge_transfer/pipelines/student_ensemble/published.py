"""What the source reports: Dewalkar, Sinha, Patidar, "Knowledge distillation using ensemble of student networks"."""

from __future__ import annotations

from knowledge_transfer.pipelines.student_ensemble.arms import STUDENT, TEACHER

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
