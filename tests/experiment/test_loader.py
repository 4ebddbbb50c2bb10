"""Files of the configuration that cannot be read: one line that names file, line and fault."""

import pytest

from knowledge_transfer import settings
from knowledge_transfer.errors import RunError
from knowledge_transfer.experiment.loader import ExperimentConfigLoader


@pytest.fixture
def conf(tmp_path):
    for name in ("base", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "base" / "parameters.yml").write_text("seed: 0\n")
    (tmp_path / "base" / "globals.yml").write_text("folder: data\n")
    return tmp_path


def load(conf, key="parameters"):
    return ExperimentConfigLoader(str(conf), env=None, runtime_params={}, **settings.CONFIG_LOADER_ARGS)[key]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"seed: 1\n\trounds: 2\n", r"parameters_mine\.yml, line 2: found a tab"),
        ("# café\nseed: 1\n".encode("latin-1"), r"parameters_mine\.yml: 'utf-8' codec can't decode"),
        (b"seed: 1\nrounds: 1\nseed: 2\n", r"parameters_mine\.yml, line 3: found duplicate key seed"),
        (b"seed: 1\n---\nseed: 2\n", r"parameters_mine\.yml, line 2: but found another document"),
        (b"students: {a: 1\n", r"parameters_mine\.yml, line 2: did not find expected"),
        (b"- 1\n- 2\n", r"parameters_mine\.yml: it holds a list, not settings by name"),
        (b"rounds: ${nothing}\n", r"rounds: Interpolation key 'nothing' not found$"),
        (b"rounds: ${globals:nothing}\n", r"rounds: Globals key 'nothing' not found and no default value provided"),
    ],
)
@pytest.mark.parametrize("environment", ["base", "local"])
def test_a_file_that_cannot_be_read_is_named(conf, environment, content, message):
    (conf / environment / "parameters_mine.yml").write_bytes(content)
    with pytest.raises(RunError, match=message) as refusal:
        load(conf)
    assert "\n" not in refusal.value.message


def test_globals_are_named_too(conf):
    (conf / "local" / "globals.yml").write_text("folder: [\n")
    with pytest.raises(RunError, match=r"local/globals\.yml, line 2"):
        load(conf)


def test_other_environments_are_not_looked_at(conf):
    (conf / "full").mkdir()
    (conf / "full" / "parameters.yml").write_text("\tnot read\n")
    (conf / "local" / "parameters_mine.yml").write_text("rounds: 2\n")
    assert load(conf) == {"seed": 0, "rounds": 2}
