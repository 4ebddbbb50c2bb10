"""Exported models: files that predict like the networks they were made of, without this package."""

import io
import json
import subprocess
import sys

import onnx
import onnxruntime
import pandas as pd
import pytest
import torch

from knowledge_transfer.errors import RunError
from knowledge_transfer.pipelines.export import formats
from knowledge_transfer.pipelines.export.nodes import export_models
from tests.conftest import stripes
from tests.models import fit
from tests.project import EVERY_ARM, STUDENTS

IMAGES = stripes(70, seed=4)


@pytest.fixture(scope="module")
def models():
    return {name: fit(name, stripes(40), seed=seed) for seed, name in enumerate(("one", "two", "target"))}


@pytest.fixture(scope="module", params=["onnx", "torch"])
def exported(request, models):
    return request.param, *export_models(None, request.param, IMAGES, **models)


def expected(models, name):
    members = ("one", "two") if name == "ensemble" else (name,)
    with torch.no_grad():
        return torch.stack([models[each].build()(IMAGES.images).softmax(1) for each in members]).mean(0)


def test_a_file_predicts_any_number_of_images_and_names_its_classes(exported, models):
    kind, files, table = exported
    assert table["model"].tolist() == ["one", "two", "target", "ensemble"]
    for name, file in zip(table["model"], table["file"], strict=True):
        for count in (1, 70):
            pixels = IMAGES.images[:count]
            if kind == "onnx":
                session = onnxruntime.InferenceSession(files[file], providers=["CPUExecutionProvider"])
                found = torch.from_numpy(session.run(None, {"pixels": pixels.numpy()})[0])
                about = session.get_modelmeta().custom_metadata_map
            else:
                about = {"facts.json": ""}
                program = torch.export.load(io.BytesIO(files[file]), extra_files=about)
                found, about = program.module()(pixels), json.loads(about["facts.json"])
            torch.testing.assert_close(found, expected(models, name)[:count], atol=1e-4, rtol=0)
        names = json.loads(about["class_names"]) if kind == "onnx" else about["class_names"]
        assert names == list(IMAGES.class_names)


def test_the_table_says_what_each_costs(exported, models):
    _, files, table = exported
    rows = table.set_index("model")
    assert rows["bytes"].tolist() == [len(files[file]) for file in rows["file"]]
    assert rows.loc["ensemble", "parameters"] == rows.loc["one", "parameters"] + rows.loc["two", "parameters"]
    for name, row in rows.iterrows():
        right = expected(models, name).argmax(1) == IMAGES.labels
        assert row["validation_accuracy"] == pytest.approx(float(right.float().mean()))
        assert row["milliseconds_batch"] > 0
        assert row["difference"] < 1e-4


def test_an_onnx_file_is_sound(models):
    files, _ = export_models("one", "onnx", IMAGES, **models)
    assert list(files) == ["one.onnx", "target.onnx", "ensemble.onnx"]
    for content in files.values():
        onnx.checker.check_model(onnx.load_from_string(content), full_check=True)


def test_bad_requests_are_refused_before_anything_is_exported(models, monkeypatch):
    with pytest.raises(ValueError, match="there is no model 'ones'; did you mean 'one'"):
        export_models("ones", "torch", IMAGES, **models)
    monkeypatch.setattr(formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r'format onnx needs onnx: pip install -e "\.\[export\]", or --params format='):
        export_models(None, "onnx", IMAGES, **models)


def test_a_graph_that_torch_cannot_follow_is_one_line(models, monkeypatch):
    def refuse(*_):
        raise RuntimeError("data\ndependent")

    monkeypatch.setattr(formats, "exported", refuse)
    with pytest.raises(ValueError, match=r"^one cannot be exported as torch: RuntimeError: data dependent$"):
        export_models("one", "torch", IMAGES, **models)


def test_a_file_that_predicts_otherwise_is_not_kept(models, monkeypatch):
    monkeypatch.setattr(
        "knowledge_transfer.pipelines.export.nodes.export",
        lambda module, *_: formats.Exported(b"", ".pt2", lambda pixels: module(pixels) + 2e-4),
    )
    with pytest.raises(ValueError, match="the exported one predicts otherwise than the network"):
        export_models("one", "torch", IMAGES, **models)


def test_a_format_that_is_not_known_is_refused(finished_project, tmp_path):
    project = finished_project.copy(tmp_path / "project")
    with pytest.raises(RunError, match=r"format: .*'onnx' or 'torch'"):
        project.run({**EVERY_ARM, "format": "tflite"}, pipeline="export")


@pytest.mark.slow
def test_the_command_writes_files_that_torch_alone_reads(finished_project, tmp_path):
    project = finished_project.copy(tmp_path / "project")
    project.run({**EVERY_ARM, "format": "torch", "model": "vgg19"}, pipeline="export")
    table = pd.read_csv(project.file("08_reporting/exports_table.csv")).set_index("model")
    assert list(table.index) == ["vgg19", "ensemble"]
    file = project.file("06_models/exported/vgg19.pt2")
    assert table.loc["vgg19", "bytes"] == file.stat().st_size
    code = (
        "import sys, torch; program = torch.export.load(sys.argv[1]).module();"
        "print(program(torch.zeros(3, 1, 32, 32, dtype=torch.uint8)).sum(1).tolist());"
        "assert not any('knowledge_transfer' in name for name in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert json.loads(ran.stdout) == pytest.approx([1, 1, 1], abs=1e-5)
    parts = table.loc["ensemble", "parameters"]
    assert parts == sum(project.checkpoint(f"{name}_round1").facts.parameters for name in STUDENTS)
