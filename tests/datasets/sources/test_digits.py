"""The bundled digits."""

import subprocess
import sys

import pytest
import torch
from sklearn.datasets import load_digits

from knowledge_transfer.datasets.sources import digits


def test_shape_and_names() -> None:
    training, test = digits.read("train", 32), digits.read("test", 32)
    assert len(training) + len(test) == 1797
    assert training.images.shape[1:] == test.images.shape[1:] == (1, 32, 32)
    assert training.images.dtype == torch.uint8
    assert training.class_names == test.class_names == tuple("0123456789")
    assert (int(training.images.min()), int(training.images.max())) == (0, 255)
    # Enlarging overshoots; beyond black and white it must stop there, not come round on the other side.
    assert test.images.int().diff(dim=3).abs().max() < 128


def test_the_test_set_is_a_disjoint_fifth() -> None:
    training, test = digits.read("train", 32), digits.read("test", 32)
    shares = test.labels.bincount() / (test.labels.bincount() + training.labels.bincount())
    assert shares.tolist() == pytest.approx([0.2] * 10, abs=0.01)
    assert not set(training.content_hashes()) & set(test.content_hashes())


def test_the_test_set_does_not_follow_the_experiment() -> None:
    torch.manual_seed(1)
    first = digits.read("test", 32)
    torch.manual_seed(2)
    assert digits.read("test", 32).sha256 == first.sha256
    # Which scans they are, in any release of torch and at any size: the enlarging may round otherwise, the choice not.
    assert (
        first.labels[:12].tolist()
        == digits.read("test", 48).labels[:12].tolist()
        == [1, 2, 6, 0, 3, 6, 2, 5, 9, 9, 8, 1]
    )


def test_it_reads_what_scikit_learn_would_without_importing_it() -> None:
    code = (
        "import sys; from knowledge_transfer.datasets.sources import digits; "
        "digits.read('test', 32); print('sklearn' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
    scans, parts = load_digits(), [digits.read(part, 8) for part in ("train", "test")]
    here = torch.cat([torch.cat([part.images.flatten(1), part.labels[:, None]], 1) for part in parts])
    pixels = (torch.from_numpy(scans.data).float() * (255 / 16)).round()
    expected = torch.cat([pixels, torch.from_numpy(scans.target)[:, None]], 1).int()
    assert sorted(here.int().tolist()) == sorted(expected.tolist())
