import pytest


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Matplotlib beside torch's tensors
def test_the_notebook_of_a_finished_run(finished_project, monkeypatch, capsys):
    models = finished_project.file("06_models")
    before = {path: path.stat().st_mtime_ns for path in models.iterdir()}
    figures, displayed = finished_project.run_notebook("bidirectional", monkeypatch)
    assert (figures, len(displayed)) == (3, 3)
    assert "bidirectional in base" in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in models.iterdir()} == before
