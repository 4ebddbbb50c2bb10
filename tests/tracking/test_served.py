"""The champion behind MLflow's own server, asked over HTTP."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from knowledge_transfer import load
from tests.project import STUDENTS, Project

_SECONDS = 120  # for a server to start on a busy machine


@pytest.fixture(scope="module")
def address(finished_project: Project) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{finished_project.path}/mlflow.db",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    options = ["--model-uri", "models:/bidirectional@champion", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "models", "serve", *options, "--env-manager", "local"]
    with subprocess.Popen(command, env=environment, start_new_session=True) as server:
        try:
            yield _when_ready(f"http://127.0.0.1:{port}", server)
        finally:
            os.killpg(server.pid, 15)


def _when_ready(address: str, server: subprocess.Popen[bytes]) -> str:
    for _ in range(_SECONDS * 2):
        if _answers(f"{address}/ping"):
            return address
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.5)
    raise AssertionError("the server did not start")


def _answers(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(address):
        return True
    return False


def ask(address: str, body: dict[str, object]) -> tuple[int, dict[str, object]]:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}/invocations", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_pixels_and_pictures_are_answered_with_classes_and_floats_refused(address, finished_project):
    """As `classify` answers: the champion is the best on validation of all models after the last round."""
    names = (*STUDENTS, "vgg19")
    facts = [finished_project.checkpoint(f"{name}_round1").facts for name in names]
    best = max(facts, key=lambda each: each.metrics["validation_accuracy"])
    model = load(finished_project.file(f"06_models/{best.name}_round1.safetensors"), "cpu")
    pixels = finished_project.images("test").images[:3, 0].numpy()
    expected = model.classify(pixels)

    buffers = [io.BytesIO() for _ in pixels]
    for image, buffer in zip(pixels, buffers, strict=True):
        Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST).save(buffer, "PNG")
    pictures = [base64.b64encode(buffer.getvalue()).decode() for buffer in buffers]
    status, answer = ask(address, {"inputs": pixels[:, None].tolist()})
    assert status == 200
    assert [each["class"] for each in answer["predictions"]] == [each.name for each in expected]
    for each, right in zip(answer["predictions"], expected, strict=True):
        assert each["probabilities"] == pytest.approx(right.probabilities, abs=1e-2)  # bfloat16 where there is some
    status, answer = ask(address, {"inputs": pictures})
    assert (status, len(answer["predictions"])) == (200, 3)
    assert {each["class"] for each in answer["predictions"]} <= set(model.class_names)
    status, answer = ask(address, {"inputs": (pixels[:1, None] / 255).tolist()})
    assert status == 400
    assert "these are float64, not whole numbers from 0 to 255" in answer["message"]
