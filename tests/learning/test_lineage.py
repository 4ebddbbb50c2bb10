import pytest
import torch

from knowledge_transfer.learning.checkpoint import Facts, require_one_lineage, require_present_images
from knowledge_transfer.learning.data.domain_mix import mix
from knowledge_transfer.learning.data.splits import split
from tests import models
from tests.conftest import two_domains


def facts(name: str, round_: int, sha256: str, **parents: str) -> Facts:
    return models.facts(
        name=name, round=round_, sha256=sha256, parents={f"{key}@0": value for key, value in parents.items()}
    )


def test_one_run_is_one_lineage():
    require_one_lineage([facts("cnn", 0, "c"), facts("vgg19", 1, "v", cnn="c"), facts("cnn", 1, "d", cnn="c")])


def test_another_parent_is_refused_by_both_names():
    with pytest.raises(ValueError, match=r"vgg19@1 descends from another cnn@0 .* the stage that makes vgg19@1"):
        require_one_lineage([facts("vgg19", 1, "v", cnn="old"), facts("cnn", 0, "new")])


def test_absent_parents_are_not_checked():
    require_one_lineage([facts("vgg19", 1, "v", cnn="gone")])


def test_two_models_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two different cnn@0"):
        require_one_lineage([facts("cnn", 0, "one"), facts("cnn", 0, "other")])


def learned(name: str, round_: int, domain: str, images_sha256: str) -> Facts:
    return facts(name, round_, "w").model_copy(update={"domain": domain, "images_sha256": images_sha256})


def test_models_learned_from_images_of_their_domain():
    ours, transfer = split(mix(two_domains()), 0.5, seed=0)
    for domain in ("digits", "signs", "all"):
        own, through = ours.of(domain), transfer.of(domain)
        models = [
            learned("cnn", 0, domain, own.sha256),
            learned("cnn", 1, domain, through.sha256),
            learned("cnn", 2, domain, through.join(own).sha256),
        ]
        require_present_images(models, ours, transfer)
        for model in models:
            for wrong in ({"domain": "signs" if domain == "digits" else "digits"}, {"round": 1 - min(model.round, 1)}):
                with pytest.raises(ValueError, match=f"{model.name}@. learned from other images than the present sets"):
                    require_present_images([models[0], model.model_copy(update=wrong)], ours, transfer)


def test_another_cut_of_one_domain_concerns_its_models():
    domains = two_domains()
    ours, transfer = split(mix(domains), 0.5, seed=0)
    models = [learned(domain, 0, domain, ours.of(domain).sha256) for domain in domains]
    cut = mix({"digits": ours.of("digits"), "signs": ours.of("signs").subset(torch.arange(9))})
    with pytest.raises(ValueError, match="signs@0 learned from other images"):
        require_present_images(models, cut, transfer)
    require_present_images(models[:1], cut, transfer)
