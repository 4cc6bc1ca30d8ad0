"""A page in another language says so to browsers and screen readers."""

import runpy
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parents[2] / "tools"


def test_a_page_with_a_language_stands_in_it_as_a_whole_and_no_other_page(tmp_path):
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(TOOLS)!r})\nextensions = ['language']\n"
    )
    (tmp_path / "index.rst").write_text("Front\n=====\n\nHello.\n\n.. toctree::\n\n   zh\n")
    chinese = ":lang: zh-Hans\n\n中文\n====\n\n你好。\n"
    (tmp_path / "zh.rst").write_text(chinese, encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", tmp_path, tmp_path / "html"]
    subprocess.run(command, check=True)
    front, page = (
        (tmp_path / "html" / name).read_text(encoding="utf-8") for name in ("index.html", "zh.html")
    )
    body = page.partition('role="main">')[2]
    assert body.lstrip().startswith('<div lang="zh-Hans">')
    inside, _, after = body.partition('<div lang="zh-Hans">')[2].partition("</section>")
    assert "你好。" in inside and after.lstrip().startswith("</div>")
    assert page.count("<div") == page.count("</div>")
    assert '<div lang="' not in front


def test_pages_may_be_built_side_by_side():
    class App:
        def connect(self, *args, **kwargs):
            pass

    promises = runpy.run_path(str(TOOLS / "language.py"))["setup"](App())
    assert promises == {"parallel_read_safe": True, "parallel_write_safe": True}
