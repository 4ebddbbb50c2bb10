"""Target distillation as a pipeline."""

from knowledge_transfer.hooks.parameters import check_parameters
from knowledge_transfer.pipeline_registry import _base_parameters
from knowledge_transfer.pipelines import target_distillation


def test_a_student_may_have_any_name():
    """Also one that an argument of the node has: neither replaces the other."""
    block = {"architecture": {"kind": "resnet8"}}
    names = ("device", "start", "soft_labels", "target")
    parameters = {**_base_parameters(), "students": dict.fromkeys(names, block)}
    pipeline = target_distillation.create_pipeline(check_parameters(parameters))
    (distil,) = (node for node in pipeline.nodes if node.short_name == "distil_vgg19_round1")
    assert {"params:devices", "params:target", "ensemble_round1_soft_labels"} <= set(distil.inputs)
    assert {f"{name}_round0_checkpoint" for name in names} <= set(distil.inputs)
