import hashlib
import urllib.error

import pytest
import safetensors.torch
import torch
from kedro.io import DatasetError

from knowledge_transfer.datasets import PretrainedWeightsDataset
from knowledge_transfer.datasets.catalog import pretrained_weights
from knowledge_transfer.datasets.storage import download

STATE = {"conv1.weight": torch.arange(6.0).view(2, 3)}


def test_a_user_s_own_file_is_read(tmp_path):
    torch.save(STATE, tmp_path / "mine.pth")
    safetensors.torch.save_file(STATE, tmp_path / "mine.safetensors")
    for name in ("mine.pth", "mine.safetensors"):
        weights = PretrainedWeightsDataset(weights=str(tmp_path / name), path=str(tmp_path)).load()
        assert weights.origin == str(tmp_path / name)
        assert torch.equal(weights.state["conv1.weight"], STATE["conv1.weight"])
        assert weights.mean == (0.485, 0.456, 0.406)
        assert weights.deviation == (0.229, 0.224, 0.225)


def test_a_file_at_an_address_is_read(tmp_path):
    torch.save(STATE, tmp_path / "mine.pth")
    weights = PretrainedWeightsDataset(weights=f"file://{tmp_path}/mine.pth", path=str(tmp_path)).load()
    assert torch.equal(weights.state["conv1.weight"], STATE["conv1.weight"])


def test_a_missing_file_is_named_with_advice(tmp_path):
    dataset = PretrainedWeightsDataset(weights=str(tmp_path / "none.pth"), path=str(tmp_path))
    with pytest.raises(DatasetError, match=r"no pretrained weights at .*none.pth.*weights: null.*fresh weights"):
        dataset.load()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("broken.pth", b"not a file of torch", "is no file of weights, or is damaged"),
        ("broken.safetensors", b"neither", "is no file of weights, or is damaged"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=rf"{name} {message}"):
        PretrainedWeightsDataset(weights=str(tmp_path / name), path=str(tmp_path)).load()


def test_what_is_no_state_dict_is_refused(tmp_path):
    torch.save({"epoch": 3, "state_dict": STATE}, tmp_path / "training.pth")
    with pytest.raises(DatasetError, match="holds no state dict"):
        PretrainedWeightsDataset(weights=str(tmp_path / "training.pth"), path=str(tmp_path)).load()


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torch.hub.urlopen", refuse)


@pytest.mark.usefixtures("no_network")
def test_without_a_network_one_error_says_all(tmp_path):
    dataset = PretrainedWeightsDataset(weights="imagenet", path=str(tmp_path))
    with pytest.raises(DatasetError) as refusal:
        dataset.load()
    message = str(refusal.value)
    url = "https://download.pytorch.org/models/resnet50-0676ba61.pth"
    for word in (str(tmp_path), url, "weights: null", "no route"):
        assert word in message


@pytest.mark.usefixtures("no_network")
def test_imagenet_weights_in_the_folder_are_checked(tmp_path, monkeypatch):
    torch.save(STATE, tmp_path / "saved")
    content = (tmp_path / "saved").read_bytes()
    name = f"resnet50-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    monkeypatch.setattr(pretrained_weights, "_FILE", name)
    (tmp_path / name).write_bytes(content)
    weights = PretrainedWeightsDataset(weights="imagenet", path=str(tmp_path)).load()
    assert weights.origin == "imagenet"
    assert torch.equal(weights.state["conv1.weight"], STATE["conv1.weight"])
    (tmp_path / name).write_bytes(content + b" ")
    with pytest.raises(DatasetError, match="is damaged or not the published one"):
        PretrainedWeightsDataset(weights="imagenet", path=str(tmp_path)).load()


def test_a_silent_server_does_not_hold_a_run(tmp_path, monkeypatch):
    import socket

    calls = []
    monkeypatch.setattr(download, "_SILENCE", 7.0)

    class Weights:
        @staticmethod
        def get_state_dict(**options):
            calls.append((socket.getdefaulttimeout(), options["check_hash"], options["weights_only"]))

    download.fetch_weights(Weights, tmp_path)
    assert calls == [(7.0, True, True)]
