"""A page in another language says so to browsers and screen readers."""

from tiny_book import build, promises

PAGES = {
    "index": "Front\n=====\n\nHello.\n\n.. toctree::\n\n   zh\n",
    "zh": ":lang: zh-Hans\n\n中文\n====\n\n你好。\n",
}


def test_a_page_with_a_language_stands_in_it_as_a_whole_and_no_other_page(tmp_path):
    html, errors = build(tmp_path, PAGES, "language")
    assert errors == ""
    front, page = ((html / f"{name}.html").read_text(encoding="utf-8") for name in PAGES)
    body = page.partition('role="main">')[2]
    assert body.lstrip().startswith('<div lang="zh-Hans">')
    inside, _, after = body.partition('<div lang="zh-Hans">')[2].partition("</section>")
    assert "你好。" in inside and after.lstrip().startswith("</div>")
    assert page.count("<div") == page.count("</div>")
    assert '<div lang="' not in front


def test_pages_may_be_built_side_by_side():
    assert promises("language") == {"parallel_read_safe": True, "parallel_write_safe": True}
