"""Files of reports that an interrupted run left: empty or cut short, they count as missing."""

import json
import shutil

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from knowledge_transfer import datasets
from tests.project import EVERY_ARM


def figure():
    made = plt.figure(figsize=(1, 1))
    plt.close(made)
    return made


KINDS = {
    "JSONDataset": ("facts.json", {"rows": [1, 2], "name": "é"}),
    "CSVDataset": ("table.csv", pd.DataFrame({"model": ["a", "b"], "accuracy": [0.5, 0.25]})),
    "MatplotlibDataset": ("figure.png", figure()),
    "TextDataset": ("page.html", "<!DOCTYPE html>\n<html><body>é</body></html>\n"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_counts_when_it_is_whole(tmp_path, kind):
    name, content = KINDS[kind]
    dataset = getattr(datasets, kind)(filepath=str(tmp_path / name))
    assert not dataset.exists()
    dataset.save(content)
    assert dataset.exists()
    whole = (tmp_path / name).read_bytes()
    for cut in (b"", whole[: len(whole) // 2], whole[:-3], b"\0" * len(whole)):
        (tmp_path / name).write_bytes(cut)
        assert not dataset.exists(), cut


def test_what_is_damaged_is_made_again_and_a_stamp_that_cannot_be_read_stops_nobody(finished_project, tmp_path):
    """Every file of the reports is cut in half, and the stamp, too; the resumed run ends with all of them."""
    project = finished_project.copy(tmp_path / "project")
    files = [path for path in project.file("08_reporting").rglob("*") if path.is_file()]
    scores = next(project.file("07_model_output").glob("*scores.json"))
    before = {path: path.read_bytes() for path in files}
    for path in (*files, scores):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    project.run(EVERY_ARM, only_missing_outputs=True)
    assert json.loads(scores.read_text())
    # The timeline of the resumed run alone has fewer nodes.
    kept = [path for path in files if path.stem != "timeline"]
    assert {path for path in kept if not path.exists() or path.stat().st_size < 0.6 * len(before[path])} == set()
    tables = {path.name: path for path in files if path.suffix == ".csv"}
    for name in ("agreement", "calibration", "comparisons", "confusion", "class_metrics"):  # without times
        path = tables[f"{name}.csv"]
        assert path.read_bytes() == before[path], name
    shutil.rmtree(project.path)
