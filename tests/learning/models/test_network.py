import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torchvision.models import resnet50

from knowledge_transfer.learning.evaluation.predict import multiply_adds
from knowledge_transfer.learning.models.architecture import NETWORKS, Architecture, Builtin, Layers
from knowledge_transfer.learning.models.network import build, folded

KINDS = [kind for kind, network in NETWORKS.items() if "width" in network.options]


def make(kind, *, width=1.0, classes=10, channels=3, size=32, **settings):
    mean, deviation = (0.5,) * channels, (0.25,) * channels
    if kind == "imagenet_resnet50":
        settings.setdefault("enlarge_to", 64)
    architecture = Architecture(kind=kind, width=width, **settings)
    return build(architecture, classes=classes, channels=channels, image_size=size, mean=mean, deviation=deviation)


@pytest.mark.parametrize(
    ("kind", "millions"),
    [
        *[("resnet8", 0.078), ("resnet50", 23.5), ("squeezenet", 0.73), ("vgg19", 20.0), ("simple_cnn", 0.62)],
        *[("alexnet", 23.2), ("imagenet_resnet50", 23.5)],
    ],
)
def test_parameters_are_those_of_the_published_networks(kind, millions):
    count = sum(parameter.numel() for parameter in make(kind).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize(("kind", "millions"), [("resnet8", 12.5), ("resnet50", 1298), ("vgg19", 398)])
def test_multiply_adds_of_small_image_stems(kind, millions):
    assert multiply_adds(make(kind), 3, 32) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 32, 2), (3, 48, 43)])
def test_any_channels_size_and_classes(kind, channels, size, classes):
    network = make(kind, width=0.25, classes=classes, channels=channels, size=size).eval()
    pixels = torch.randint(0, 256, (2, channels, size, size), dtype=torch.uint8)
    assert network(pixels).shape == (2, classes)


@pytest.mark.parametrize("kind", KINDS)
def test_width_scales_the_channels(kind):
    narrow = sum(parameter.numel() for parameter in make(kind, width=0.5).parameters())
    full = sum(parameter.numel() for parameter in make(kind).parameters())
    assert narrow < 0.6 * full


def test_networks_take_stored_pixels_and_normalise_themselves():
    network = make("resnet8", channels=1).eval()
    pixels = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = network.body((pixels.float() / 255 - 0.5) / 0.25)
        torch.testing.assert_close(network(pixels), expected)


def test_fresh_networks_neither_explode_nor_vanish():
    pixels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8)
    for kind in KINDS:
        torch.manual_seed(0)
        logits = make(kind, width=0.25).train()(pixels)
        assert 0.01 < float(logits.detach().std()) < 10, kind


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def make_cnn(size=32, channels=3, **layers):
    return make("cnn", layers=layers, size=size, channels=channels)


def test_a_cnn_has_the_layers_it_was_given():
    # Two convolutions of 3x3 and 5 classes' worth of weights, by hand: 8x8 cells are left of 32x32 after two blocks.
    network = make_cnn(convolutions=[[4, 6], [8]], hidden=[16], normalise=False)
    convolutions = (3 * 9 + 1) * 4 + (4 * 9 + 1) * 6 + (6 * 9 + 1) * 8
    assert count(network) == convolutions + (8 * 8 * 8 + 1) * 16 + (16 + 1) * 10
    # Normalisation: two weights a channel more, and one bias a channel less.
    assert count(make_cnn(convolutions=[[4, 6], [8]], hidden=[16])) == count(network) + 4 + 6 + 8


def test_the_published_tiny_students_can_be_made():
    """MNIST's student of "student networks": conv 8, conv 8, FC 256; ours pads, theirs has other rests of 28 pixels."""
    network = make_cnn(convolutions=[[8], [8]], kernel=5, hidden=[256], normalise=False, channels=1)
    assert count(network) == (25 + 1) * 8 + (8 * 25 + 1) * 8 + (8 * 64 + 1) * 256 + (256 + 1) * 10


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 6])
def test_kernels_keep_the_size_of_the_image(kernel):
    network = make_cnn(convolutions=[[4, 4], [4]], kernel=kernel)
    sizes = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _module, _given, output: sizes.append(tuple(output.shape[2:])))
    network.eval()(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    assert sizes == [(32, 32), (32, 32), (16, 16)]


def test_dropouts_follow_blocks_and_hidden_layers():
    network = make_cnn(convolutions=[[4], [4]], hidden=[8, 8], dropout=[0.1, 0, 0.3])
    assert [module.p for module in network.modules() if isinstance(module, nn.Dropout)] == [0.1, 0.3]


def test_a_cnn_with_softmax_returns_probabilities():
    network = make_cnn(convolutions=[[4]], softmax=True).eval()
    probabilities = network(torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8))
    torch.testing.assert_close(probabilities.sum(1), torch.ones(5))


def test_too_many_blocks_are_refused():
    assert make_cnn(convolutions=[[4]] * 5)
    with pytest.raises(ValueError, match="6 blocks halve images of 32 pixels away: leave some out"):
        make_cnn(convolutions=[[4]] * 6)


def test_more_dropouts_than_places_are_refused():
    with pytest.raises(ValueError, match="3 dropouts, 2 blocks and hidden layers: leave some out"):
        make_cnn(convolutions=[[4]], hidden=[8], dropout=[0.1] * 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "vgg16"}, "unknown network 'vgg16'; did you mean 'vgg19'"),
        ({"kind": "cnn"}, "kind 'cnn' needs layers"),
        ({"kind": "resnet8", "layers": {"convolutions": [[8]]}}, "kind 'cnn' needs layers, and no other has them"),
        ({"kind": "cnn", "layers": {"convolutions": [[8]]}, "width": 0.5}, "leave width out"),
        ({"kind": "cnn", "layers": {"convolutions": [[8], []]}}, "every block needs a convolution"),
        ({"kind": "cnn", "layers": {"convolution": [[8]]}}, "unknown key 'convolution'; did you mean 'convolutions'"),
        ({"kind": "resnet50", "enlarge_to": 4}, "greater than or equal to 8"),
    ],
)
def test_what_is_no_network_is_refused_by_name(settings, message):
    with pytest.raises(ValidationError, match=message):
        Architecture(**settings)


def test_another_network_is_one_line_of_the_registry(monkeypatch):
    def linear(classes, *, channels, width):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * 32 * 32, classes))

    monkeypatch.setitem(NETWORKS, "linear", Builtin(linear))
    assert make("linear")(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    with pytest.raises(ValidationError, match="unknown network 'linaer'; did you mean 'linear'"):
        Architecture(kind="linaer")


def test_a_network_says_what_it_is():
    layers = Layers(convolutions=[[8, 8], [16]], kernel=5, hidden=[64])
    assert str(Architecture(kind="cnn", layers=layers)) == "cnn (conv 8+8, 16 of 5x5, linear 64)"
    assert str(Architecture(kind="imagenet_resnet50")) == "imagenet_resnet50 at 224 pixels"
    assert str(Architecture(kind="vgg19", width=0.5, enlarge_to=64)) == "vgg19 at 64 pixels (width 0.5)"


def test_the_imagenet_resnet50_is_torchvisions_after_resizing():
    torch.manual_seed(0)
    # In float64: float32 rounds differently where a processor multiplies in another order.
    ours, theirs = make("imagenet_resnet50").double().eval(), resnet50(num_classes=10).double().eval()
    ours.body.load_state_dict(theirs.state_dict())
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    enlarged = nn.functional.interpolate((pixels.double() / 255 - 0.5) / 0.25, size=(64, 64), mode="bilinear")
    with torch.no_grad():
        torch.testing.assert_close(ours(pixels), theirs(enlarged))


def test_grey_images_are_repeated_as_three_colours():
    """With ImageNet's three means, too, which differ from colour to colour."""
    network = make("imagenet_resnet50", width=0.125, channels=1).eval()
    assert network.body.conv1.weight.shape[1] == 3
    assert network(torch.zeros(1, 1, 32, 32, dtype=torch.uint8)).shape == (1, 10)
    network.mean, network.deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in ([0.4] * 3, [0.2] * 3))
    grey = torch.randint(0, 256, (2, 1, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(network(grey), network(grey.expand(-1, 3, -1, -1)))


def test_published_images_are_enlarged_to_224_pixels():
    network = make("imagenet_resnet50", width=0.125, enlarge_to=None)
    assert multiply_adds(network, 3, 32) > 10 * multiply_adds(make("imagenet_resnet50", width=0.125), 3, 32)
    assert multiply_adds(make("imagenet_resnet50", enlarge_to=224, classes=1000), 3, 32) / 1e6 == pytest.approx(
        4089, rel=0.02
    )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "alexnet"])  # which normalises nothing
def test_a_folded_network_predicts_as_before(kind):
    torch.manual_seed(0)
    network = make(kind, width=0.25)
    pixels = torch.randint(0, 256, (32, 3, 32, 32), dtype=torch.uint8)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    with torch.no_grad():
        network(pixels)  # training mode: gives the running statistics something to be
        light = folded(network, pixels[:2])
        torch.testing.assert_close(light(pixels), network.eval()(pixels), rtol=1e-3, atol=1e-3)
    left = sum(isinstance(module, nn.BatchNorm2d) for module in light.modules())
    assert left == (3 if kind == "simple_cnn" else 0)  # which pools in between
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_vgg19_starts_by_passing_its_channels_on() -> None:
    """Without that its sixteen convolutions hardly tell images apart, and a thousand steps do not get it going."""
    first, *others = [layer for layer in make("vgg19", width=0.25).modules() if isinstance(layer, nn.Conv2d)]
    pixels = torch.rand(1, others[0].in_channels, 8, 8)
    assert len(others) == 15
    assert torch.equal(others[0](pixels), pixels)
    assert first.weight.abs().sum(dim=(1, 2, 3)).min() > 0
