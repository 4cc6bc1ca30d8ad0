"""A page that is too long or too wide for a phone is found, in Chromium where there is one."""

import runpy
import shutil
from pathlib import Path

import pytest

PHONE = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "phone.py"))


def test_without_chromium_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs Chromium"):
        PHONE["main"](str(tmp_path))


@pytest.mark.skipif(not shutil.which("chromium"), reason="there is no Chromium")
@pytest.mark.parametrize(
    ("size", "fails", "printed"),
    [
        ("height:844px", False, " 1.0 "),
        ("height:14348px", True, "17.0*"),
        ("height:13504px", False, "16.0 "),
        ("width:500px;height:9px", True, "500*"),
    ],
)
def test_a_lesson_that_is_too_long_or_too_wide_is_marked(tmp_path, capsys, size, fails, printed):
    (tmp_path / "chapters").mkdir()
    page = f"<!doctype html><body style='margin:0'><article style='{size}'></article>"
    (tmp_path / "chapters" / "01_page.html").write_text(page)
    with pytest.raises(SystemExit) as ended:
        PHONE["main"](str(tmp_path))
    assert ended.value.code == fails
    assert printed in capsys.readouterr().out
