"""Prediction of a user's images by the models of a finished run."""

import re

import numpy as np
import pandas as pd
import pytest
from kedro.io import DatasetError
from PIL import Image

from knowledge_transfer import load
from knowledge_transfer.datasets import ImageFilesDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.stage_config import ARGUMENT
from knowledge_transfer.pipelines.predict import nodes
from tests.project import EVERY_ARM, STUDENTS


@pytest.fixture(scope="module")
def project(finished_project, tmp_path_factory):
    return finished_project.copy(tmp_path_factory.mktemp("predict") / "project")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, finished_project):
    """Test images as files, some in a folder below, among files that are none."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "below").mkdir()
    for number, image in enumerate(finished_project.images("test").images[:12, 0].numpy()):
        Image.fromarray(image).save(root / ("below" if number % 2 else "") / f"{number:02}.png")
    (root / "text.jpg").write_text("hello")
    (root / ".hidden.png").write_text("not even looked at")
    return root


@pytest.fixture(scope="module")
def predicted(project, folder):
    project.run({**EVERY_ARM, "images": str(folder), "model": "vgg19"}, pipeline="predict")
    return pd.read_csv(project.file("08_reporting/predictions_table.csv"))


def test_every_image_has_a_row_the_most_doubtful_first(predicted, folder):
    images = {path.relative_to(folder).as_posix() for path in folder.rglob("[0-9]*.png")}
    assert set(predicted["file"]) == images
    assert predicted["probability"].is_monotonic_increasing
    assert (predicted["probability"] >= predicted["second_probability"]).all()
    assert list(predicted.columns[-5:]) == [*STUDENTS, "vgg19", "ensemble"]
    assert predicted["class"].tolist() == predicted["vgg19"].tolist()


def test_the_numbers_are_those_of_the_model_alone(predicted, project, folder):
    for name in ("vgg19", *STUDENTS):
        model = load(project.file(f"06_models/{name}_round1.safetensors"), "cpu")
        found = model.classify([folder / name for name in predicted["file"]])
        assert [each.name for each in found] == predicted[name].astype(str).tolist()
        if name == "vgg19":
            assert [each.probability for each in found] == pytest.approx(predicted["probability"], abs=1e-4)


def test_the_page_shows_pictures_and_names_what_is_left_out(predicted, project):
    page = project.file("08_reporting/predictions.html").read_text()
    assert page.count("data:image/jpeg;base64,") == len(predicted) == 12
    assert re.search(r"classified by <b>vgg19</b>: it was asked for", page)
    assert "because they are no images: 1." in page
    assert "text.jpg" in page
    first, last = (page.index(f">{predicted['file'].iloc[row]}<") for row in (0, -1))
    assert first < last


def test_without_a_name_the_best_on_validation_decides(predicted, project, folder):
    info = project.report("predictions_info")
    assert (info["model"], info["images"], len(info["skipped"])) == ("vgg19", 12, 1)
    project.run({**EVERY_ARM, "images": str(folder / "00.png")}, pipeline="predict")
    facts = [project.checkpoint(f"{name}_round1").facts for name in (*STUDENTS, "vgg19")]
    best = max(facts, key=lambda each: each.metrics["validation_accuracy"])
    assert project.report("predictions_info")["model"] == best.name


def test_models_are_left_as_they_are_and_a_run_may_resume(predicted, project):
    project.run(EVERY_ARM, only_missing_outputs=True)


def test_bad_requests_are_one_line(project, folder, tmp_path):
    for images, model, message in [
        (folder, "vgg", "there is no model 'vgg'; did you mean 'vgg19'"),
        (folder / "text.jpg", "vgg19", "none of the 1 files is an image: cannot read the image .*text.jpg"),
        (tmp_path, "vgg19", "holds no files"),
        (tmp_path / "none", "vgg19", "there is no file and no folder .*none: name an image"),
    ]:
        with pytest.raises(RunError, match=message):
            project.run({**EVERY_ARM, "images": str(images), "model": model}, pipeline="predict")
    with pytest.raises(DatasetError, match="no images are named: --params images=FOLDER_OR_FILE"):
        ImageFilesDataset(path=None).load()


def test_a_grey_and_a_coloured_file_suit_one_model(tmp_path):
    Image.fromarray(np.full((20, 30), 200, np.uint8)).save(tmp_path / "grey.png")
    Image.fromarray(np.full((20, 30, 3), (200, 0, 0), np.uint8)).save(tmp_path / "red.png")
    files = ImageFilesDataset(path=str(tmp_path)).load()
    assert files.read(files.names, grey=True, size=8)[1].shape == (2, 1, 8, 8)
    names, pixels, skipped = files.read(files.names, grey=False, size=8)
    assert (names, skipped) == (["grey.png", "red.png"], {})
    assert pixels[:, :, 0, 0].tolist() == [[200, 200, 200], [200, 0, 0]]


def test_a_model_may_be_called_like_a_column_or_an_argument(project, folder):
    made = project.checkpoint("vgg19_round1")
    files = ImageFilesDataset(path=str(folder / "00.png")).load()
    models = {f"{ARGUMENT}{name}": made for name in ("class", "files", "device")}
    table, info = nodes.classify(files, "device", "cpu", **models)
    assert info["model"] == "device"
    assert list(table.columns[-4:]) == ["class (model)", "files", "device", "ensemble"]
