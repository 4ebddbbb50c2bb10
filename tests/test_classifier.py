"""A trained model that answers about a user's images: prepared as in training, and everything else refused."""

import numpy as np
import pytest
import torch
from PIL import Image

from knowledge_transfer import load
from knowledge_transfer.datasets.sources import image_folder
from knowledge_transfer.learning.checkpoint_file import dump
from knowledge_transfer.learning.evaluation.predict import predict
from tests.conftest import stripes
from tests.models import CPU, fit


@pytest.fixture(scope="module", params=[1, 3])
def model(request, tmp_path_factory):
    """A model for grey images, and one for coloured ones."""
    made = fit("mine", stripes(30, channels=request.param))
    file = tmp_path_factory.mktemp("models") / "mine.safetensors"
    file.write_bytes(dump([made], single=True))
    return load(file, "cpu"), made


def picture(seed=0, width=50, height=40):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_an_image_is_prepared_as_in_a_training_folder(tmp_path, model):
    """The same file as an image of a class, and by its path, as a PIL image and as an array: the same numbers."""
    ours, made = model
    for name in ("a", "b", "c"):
        (tmp_path / "all" / name).mkdir(parents=True)
        for number in range(5):
            image = Image.fromarray(picture(number))
            image = image.convert("L") if made.facts.channels == 1 else image
            image.save(tmp_path / "all" / name / f"{number}.png")
    trained = image_folder.read(tmp_path / "all", "train", 32)
    logits = predict(made.build(), trained, device=CPU)
    files = sorted((tmp_path / "all").rglob("*.png"))
    found = ours.classify(files)
    expected = {round(float(p), 5) for p in logits.softmax(1).amax(1)}
    assert expected <= {round(each.probability, 5) for each in found}
    opened = [Image.open(file) for file in files]
    arrays = np.stack([np.asarray(image) for image in opened])
    assert ours.classify(opened) == found
    assert ours.classify(arrays) == found
    assert ours.classify(torch.from_numpy(arrays)) == found
    assert ours.classify(str(files[3])) == [found[3]] == ours.classify(arrays[3])


def test_a_prediction_names_every_class(model):
    ours, made = model
    (found,) = ours.classify(picture())
    assert found.name == next(iter(found.probabilities))
    assert found.probability == max(found.probabilities.values())
    assert set(found.probabilities) == set(ours.class_names) == set(made.facts.class_names)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (picture() / 255, r"uint8 from 0 to 255, these are float64: multiply those in \[0, 1\] by 255"),
        (np.zeros((2, 3, 32, 32), np.uint8), r"\[N, H, W, 1 or 3\], these \[2, 3, 32, 32\]"),
        (np.zeros((0, 32, 32), np.uint8), r"these \[0, 32, 32\]"),
        (np.zeros((40, 50, 4), np.uint8), r"\[40, 50, 4\] may be one image or several"),
        ([], "no images to classify"),
        ([picture()], "not a list of ndarray"),
    ],
)
def test_what_is_no_image_is_refused(model, images, message):
    with pytest.raises(ValueError, match=message):
        model[0].classify(images)


def test_channels_in_front_are_refused_by_a_model_of_colours(model):
    """For a model of grey images they are three of those."""
    ours, made = model
    if made.facts.channels == 1:
        assert len(ours.classify(np.zeros((3, 40, 50), np.uint8))) == 3
        return
    with pytest.raises(ValueError, match=r"\[3, 40, 50\] may be one image or several"):
        ours.classify(np.zeros((3, 40, 50), np.uint8))


def test_a_file_that_is_no_image_is_named(tmp_path, model):
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(ValueError, match=r"cannot read the image .*text\.jpg"):
        model[0].classify([tmp_path / "text.jpg"])
