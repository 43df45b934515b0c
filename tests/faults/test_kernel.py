"""The kernel of the report dies in the middle."""

from __future__ import annotations

import pytest
from fault_jobs import config, prepare_report, put_notebook, run_report

from pokewatch.errors import PokewatchError
from pokewatch.report import notebooks, page


def test_a_kernel_that_dies_leaves_the_old_report(tmp_path, monkeypatch):
    prepare_report(tmp_path)
    put_notebook(tmp_path / "notebooks", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    folder = config(tmp_path).reports_dir
    with pytest.raises(
        PokewatchError, match=r"04_nightly_report.*kernel died.*memory.*run it again"
    ):
        page.write_report(config(tmp_path))
    assert {path.name for path in folder.iterdir()} <= {"latest.html", "2025-01-05.failed.ipynb"}
    assert (folder / "latest.html").read_text(encoding="utf-8") == "<html>before</html>"
    put_notebook(tmp_path / "notebooks", "print('figures')")
    run_report(tmp_path)
    assert {path.name for path in folder.iterdir()} == {
        "latest.html",
        "2025-01-05.html",
        "2025-01-05.ipynb",
    }
