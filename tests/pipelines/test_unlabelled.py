"""Images without a label, from a folder: they join the transfer set, and their teachers alone say what they are."""

import pytest
import torch
from PIL import Image

from knowledge_transfer.datasets import ImageFilesDataset
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.stage_config import DataPreparation, DataSource
from knowledge_transfer.pipelines.data_preparation.nodes import cut_published_images
from tests.conftest import stripes
from tests.project import EVERY_ARM, Project

SETTINGS = DataPreparation(transfer_fraction=0.3, validation_fraction=0.2)
SOURCE = DataSource(source="folder", path="", image_size=32)


def write(folder, images):
    folder.mkdir(exist_ok=True)
    for number, image in enumerate(images.images[:, 0].numpy()):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return ImageFilesDataset(path=str(folder)).load()


def cut(files, **changes):
    sets = {"all_training": stripes(60), "all_test": stripes(20, seed=1)}
    return cut_published_images(SOURCE, {}, SETTINGS.model_copy(update=changes), 0, files, **sets)


@pytest.mark.parametrize("transfer_labels", [True, False])
def test_they_join_the_transfer_set_without_a_label(tmp_path, transfer_labels):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "text.txt").write_text("no image")
    further = stripes(12, seed=5)
    files = write(tmp_path / "files", further)
    *_, plain, _, _ = cut(None, transfer_labels=transfer_labels)
    students, validation, transfer, test, report = cut(files, transfer_labels=transfer_labels)
    assert len(transfer) == len(plain) + 12
    assert transfer.images[-12:].equal(further.images)
    assert transfer.is_labelled.tolist() == [transfer_labels] * len(plain) + [False] * 12
    assert all(bool(each.is_labelled.all()) for each in (students, validation, test))
    assert report["unlabelled"] == 12 + (0 if transfer_labels else len(plain))
    assert list(report["left_out"]) == ["text.txt"]


def test_images_of_other_sets_are_not_among_them(tmp_path):
    """Neither a test image, which nobody may learn, nor one whose label is known."""
    known, test = stripes(60), stripes(20, seed=1)
    files = write(tmp_path / "files", stripes(3, seed=5).join(known).join(test))
    *_, plain, _, _ = cut(None)
    _, _, transfer, _, _ = cut(files)
    assert len(transfer) == len(plain) + 3


def test_folders_and_files_that_are_no_images_are_refused(tmp_path):
    write(tmp_path / "classes", stripes(2))
    write(tmp_path / "classes" / "cat", stripes(3))
    with pytest.raises(ValueError, match=r"lie in no class folders, but cat/000\.png does"):
        cut(ImageFilesDataset(path=str(tmp_path / "classes")).load())
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "one.jpg").write_text("hello")
    with pytest.raises(
        ValueError, match=r"none of the 1 unlabelled files is an image: cannot read the image .*one\.jpg"
    ):
        cut(ImageFilesDataset(path=str(tmp_path / "texts")).load())


def test_the_whole_experiment_learns_from_them(tmp_path):
    write(tmp_path / "files", stripes(40, seed=5))
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    data = {"data": {"unlabelled": str(tmp_path / "files")}}
    project.run({**EVERY_ARM, **data})
    transfer = project.images("transfer")
    assert int((~transfer.is_labelled).sum()) == project.report("data_report")["unlabelled"] == 40
    taught = project.checkpoint("vgg19_taught_round1").facts
    assert taught.images_sha256 == transfer.sha256
    alone = project.checkpoint("vgg19_labels_round1").facts
    assert alone.images_sha256 == transfer.subset(transfer.is_labelled).sha256
    page = project.file("08_reporting/report.html").read_text()
    assert "40 of the transfer set without a label" in page
    with pytest.raises(RunError, match=r"data\.unlabelled is for one domain"):
        project.run({**EVERY_ARM, **data, "heterogeneous": {}}, pipeline="heterogeneous")
    assert torch.isfinite(torch.tensor(taught.metrics["loss"]))
