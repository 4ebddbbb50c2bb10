import pytest
import torch
from torchvision.models import resnet50

from knowledge_transfer.learning.models.architecture import Architecture
from knowledge_transfer.learning.models.weights import Pretrained
from knowledge_transfer.learning.train import FitData, LearnOptions, Normalisation, learn
from knowledge_transfer.learning.training.recipe import Recipe
from tests.conftest import stripes
from tests.learning.models.test_network import make

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def pretrained():
    torch.manual_seed(1)
    return Pretrained("imagenet", resnet50().state_dict(), MEAN, DEVIATION)


def test_the_last_layer_alone_stays_fresh(pretrained):
    network = make("imagenet_resnet50", classes=3)
    fresh = network.body.fc.weight.clone()
    pretrained.put_into(network)
    for name, tensor in network.body.state_dict().items():
        if not name.startswith("fc."):
            assert torch.equal(tensor, pretrained.state[name]), name
    assert torch.equal(network.body.fc.weight, fresh)


def test_older_files_have_no_counters(pretrained):
    state = {name: tensor for name, tensor in pretrained.state.items() if "num_batches" not in name}
    Pretrained("imagenet", state, MEAN, DEVIATION).put_into(make("imagenet_resnet50"))


def test_weights_of_another_width_are_refused(pretrained):
    with pytest.raises(ValueError, match=r"of a network of this width: 'conv1.weight' is \[64, 3, 7, 7\], here \[16"):
        pretrained.put_into(make("imagenet_resnet50", width=0.25))


def test_weights_of_another_network_are_refused(pretrained):
    with pytest.raises(ValueError, match=r"imagenet are not of this network: '0\.weight' is missing, and so are"):
        pretrained.put_into(make("resnet50"))


def test_a_fit_starts_from_them_and_says_so(pretrained):
    images = stripes(8, channels=3)
    checkpoint = learn(
        "teacher",
        Architecture(kind="imagenet_resnet50", enlarge_to=32),
        FitData(images, images, Normalisation(mean=MEAN, deviation=DEVIATION)),
        Recipe(epochs=1, batch_size=8, learning_rate=1e-6, precision="fp32"),
        LearnOptions(seed=0, device=torch.device("cpu")),
        start=pretrained,
    )
    assert len(checkpoint.curve) == 1
    assert checkpoint.facts.parents == {"imagenet": pretrained.sha256}
    assert checkpoint.facts.mean == MEAN
    torch.testing.assert_close(
        checkpoint.state["body.conv1.weight"], pretrained.state["conv1.weight"], rtol=0, atol=1e-3
    )
    assert checkpoint.state["body.fc.weight"].shape == (3, 2048)
