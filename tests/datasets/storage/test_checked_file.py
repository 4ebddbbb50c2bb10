"""Checked safetensors: whatever changes in a file, it is refused."""

import pytest
import safetensors.torch
import torch

from knowledge_transfer.datasets.storage.checked_file import load, save

TENSORS = {
    "weight": torch.arange(6, dtype=torch.float32).view(2, 3),
    "half": torch.linspace(-1, 1, 5, dtype=torch.bfloat16),
    "num_batches_tracked": torch.tensor(7),
    "none": torch.zeros(0, 3),
}
FACTS = '{"class_names": ["Löwe", "Bär"]}'


def test_types_shapes_and_text_survive() -> None:
    tensors, facts = load(save(TENSORS, FACTS))
    assert facts == FACTS
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert tensors[name].shape == tensor.shape
        assert torch.equal(tensors[name], tensor)


def test_views_and_channels_last_are_made_contiguous() -> None:
    image = torch.arange(48).view(1, 3, 4, 4)
    data = save({"a": image.to(memory_format=torch.channels_last), "b": image[:, :, ::2]}, "{}")
    tensors, _ = load(data)
    assert torch.equal(tensors["a"], image)
    assert torch.equal(tensors["b"], image[:, :, ::2])


def test_every_flipped_bit_is_noticed() -> None:
    data = save(TENSORS, FACTS)
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(ValueError, match=r"not a file of this project|sha256 is not the one"):
            load(bytes(changed))


def test_every_cut_is_noticed() -> None:
    data = save(TENSORS, FACTS)
    for length in range(len(data)):
        with pytest.raises(ValueError, match="not a file of this project"):
            load(data[:length])


@pytest.mark.parametrize("metadata", [None, {"facts": "{}"}, {"sha256": "0"}])
def test_other_peoples_safetensors_are_refused(metadata: dict[str, str] | None) -> None:
    with pytest.raises(ValueError, match="not a file of this project"):
        load(safetensors.torch.save({"a": torch.zeros(2)}, metadata))
