import pytest
from pydantic import ValidationError

from knowledge_transfer.experiment.stage_config import DistillationStage
from knowledge_transfer.learning.config import Config
from knowledge_transfer.learning.distillation.config import DistillationConfig
from knowledge_transfer.learning.training.recipe import Recipe


class Settings(Config):
    rate: float = 1.0
    count: int | None = None
    verbose: bool = False


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Settings, {"rat": 1}, "unknown key 'rat'; did you mean 'rate'?"),
        (Settings, {"zzz": 1}, "unknown key 'zzz'; known: count, rate, verbose"),
        (Settings, {"teaching": {}}, "unknown key 'teaching'; known: count, rate, verbose"),
        (Settings, {"count": True}, "'count' is a number, got true"),
        (Settings, {"rate": float("inf")}, "finite number"),
        (DistillationStage, {"teaching": {"alpha": 1}}, "unknown key 'teaching': it is called 'distillation' now"),
        (Recipe, {"schedule": "one_cycle"}, "schedule 'one_cycle' is called 'linear' now"),
        (DistillationConfig, {"fusion": "apart"}, "fusion 'apart' is called 'separate' now"),
    ],
)
def test_wrong_and_renamed_settings_are_refused(kind, given, message):
    with pytest.raises(ValidationError) as refusal:
        kind(**given)
    assert message in str(refusal.value)


def test_booleans_and_numbers_in_their_place():
    assert Settings(rate=2, count=None, verbose=True).model_dump() == {"rate": 2.0, "count": None, "verbose": True}
