"""What `kedro run` is asked for and cannot do: one line that names it, before anything is read or written."""

import pytest
import yaml

from knowledge_transfer.errors import RunError
from tests.pipelines.test_repeats import OPTIONS, calls, project, run

__all__ = ["calls", "project"]  # fixtures


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pipelines": ["bidirektional"]}, "there is no pipeline 'bidirektional'; did you mean 'bidirectional'"),
        ({"pipelines": ["predict", "eval"]}, "there is no pipeline 'eval'; did you mean 'evaluation'"),
        ({"pipeline": "studies"}, "there is no pipeline 'studies'"),
        ({"env": "smal"}, "there is no environment 'smal'; did you mean 'small'"),
        ({"params": {"folder": ""}}, "folder is where results go, such as data, got ''"),
        ({"params": {"folder": None}}, "folder is where results go, such as data, got None"),
    ],
)
def test_what_is_not_there_is_named(calls, options, message):
    with pytest.raises(RunError, match=message):
        run(**{"params": {}, **options})
    assert not calls


def test_an_empty_folder_in_a_file_is_refused_too(calls, project):
    file = project.path / "conf" / "base" / "globals.yml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "folder": None}))
    with pytest.raises(RunError, match=r"folder is where results go, such as data, got None: set it in globals\.yml"):
        run({})
    assert not calls


@pytest.mark.parametrize(("part", "name"), [("node_names", "foo"), ("from_nodes", "foo"), ("tags", "foo")])
@pytest.mark.usefixtures("project")
def test_parts_that_a_pipeline_lacks_are_one_line(part, name):
    with pytest.raises(
        RunError, match=r"Pipeline (does not contain nodes named \['foo'\]|contains no nodes).*describe"
    ):
        run({}, **{part: (name,)}, pipelines=["predict"])


def test_what_is_there_runs(calls):
    run({}, pipelines=["predict"], env="small")
    run({}, pipelines=["__default__"])
    run({})
    assert [each["pipelines"] for each in calls] == [["predict"], ["__default__"], OPTIONS["pipelines"]]
