"""The search of a tiny book: the words of a table, lessons first, two languages, quoted sentences."""

import json
import subprocess
import sys

import pytest
from tiny_book import TOOLS, needs_chromium, title_in_chromium
from tiny_book import build as build_book

pytest.importorskip("py_mini_racer", reason="the test extra has mini-racer")

WORDS = {
    "chapters/07_adam_or_adamw": ["AdamW", "权重衰减", "L1 正则化"],
    "chapters/08_setting#sec-spare": ["exclude bias", "warmup"],
}
PAGES = {
    "index": "Front\n=====\n\n.. toctree::\n   :glob:\n\n   chapters/*\n   glossary\n   api\n   zh\n",
    "chapters/07_adam_or_adamw": "Adam or AdamW?\n==============\n\nAdam meets its twin here.\n",
    "chapters/08_setting": "Setting decay\n=============\n\nAdam or not. AdamW is Adam with decay.\n\n"
    ".. _sec-spare:\n\nSpared\n------\n\nFirst words, and many of them, so that it is a line. "
    "Gains are spared by 0.5 e.g. here. So are biases of all layers. And more.\n\n"
    "====  ====\nloss  cause\n====  ====\nNaN   lr is too high for this task, by far\n====  ====\n",
    "glossary": "Glossary\n========\n\n"
    ".. glossary::\n\n   AdamW (解耦权重衰减的 Adam)\n      Adam and decay.\n",
    "api": "API of AdamW\n============\n\n.. py:class:: AdamW\n\n   Adam.\n",
    "zh": ":lang: zh-Hans\n\n中文速答\n========\n\n动量是 Adam 的一半。次梯度、动量\n",
}


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    def build(words):
        conf = f"search_words = {words!r}\n"
        return build_book(tmp_path_factory.mktemp("book"), PAGES, "search_words", "language", conf=conf)

    return build


@pytest.fixture(scope="module")
def site(build):
    site, errors = build(WORDS)
    assert errors == ""
    return site


@pytest.fixture(scope="module")
def found(site):
    """Return a function that returns what a query finds, best first."""

    def found(*queries):
        command = [sys.executable, TOOLS / "check_search.py", site, *queries]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
        results = []
        for line in done.stdout.splitlines():
            if line.startswith("  "):
                results[-1].append(line.strip())
            else:
                results.append([])
        return results

    return found


def test_lessons_come_before_what_defines_and_lists(found):
    asked = ["Adam vs AdamW", "difference between Adam and AdamW", "AdamW", "adamw, adam?"]
    for results in found(*asked):
        assert results[0] == "chapters/07_adam_or_adamw"
        assert "chapters/08_setting" in results
        others = [i for i, place in enumerate(results) if not place.startswith("chapters")]
        assert min(others) > results.index("chapters/08_setting")


def test_a_page_is_found_by_words_that_it_does_not_have(found):
    alone, mixed, none = found("warmup", "decay warmup", "cooldown")
    assert alone[0] == "chapters/08_setting#spared"
    assert mixed == ["chapters/08_setting"]
    assert none == []


def test_a_question_in_chinese_needs_no_spaces(found):
    question, close, spaced, asked, two = found(
        "Adam和AdamW有什么区别", "L1正则化", "L1 正则化", "权重衰减怎么设置", "动量"
    )
    assert question[0] == "chapters/07_adam_or_adamw"
    assert close[0] == spaced[0] == asked[0] == "chapters/07_adam_or_adamw"
    assert two == ["zh"]


def test_a_build_of_one_page_keeps_the_words_of_the_others(build, monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    from check_search import problems_of

    site, _ = build(WORDS)
    first = {"warmup": ["chapters/08_setting"]}
    assert problems_of(site, first) == []
    zh = site.parent / "zh.rst"
    zh.write_text(zh.read_text(encoding="utf-8") + "\nMore.\n", encoding="utf-8")
    subprocess.run([sys.executable, "-m", "sphinx", "-q", "-W", site.parent, site], check=True)
    assert "More." in (site / "zh.html").read_text(encoding="utf-8")
    assert problems_of(site, first) == []


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("chapters/09_none", "there is no page 'chapters/09_none'"),
        ("zh#sec-none", "zh has no section 'sec-none'"),
    ],
)
def test_a_place_that_is_not_there_is_named(build, place, problem):
    assert problem in build({place: ["word"]})[1]


def test_a_query_that_finds_another_page_first_is_a_problem(site, monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    from check_search import problems_of

    first = {"AdamW": ["chapters/07_adam_or_adamw"], "warmup": ["zh"], "cooldown": ["zh"]}
    assert problems_of(site, first) == [
        "warmup: finds chapters/08_setting#spared, chapters/08_setting before zh",
        "cooldown: finds nothing",
    ]


def test_every_query_of_the_book_names_a_place_of_the_book(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    from search_words import table

    root = TOOLS.parent
    pages = {str(p.relative_to(root).with_suffix("")) for p in root.glob("chapters/**/*.ipynb")}
    pages |= {p.stem for p in root.glob("*.md")}
    for places in table()["first"].values():
        assert set(places) <= pages


def test_a_page_in_another_language_says_so(site):
    assert '<div lang="zh-Hans">' in (site / "zh.html").read_text(encoding="utf-8")
    assert "zh-Hans" not in (site / "index.html").read_text(encoding="utf-8")


@needs_chromium
def test_a_result_quotes_sentences(site):
    html = (site / "chapters/08_setting.html").read_text(encoding="utf-8")
    html = html.replace('<div class="body"', '<article class="body"')  # as the book's theme has it
    asked = [["bias"], "#spared"], [["decai", "adamw"], ""], [["nowher"], "#spared"], [["nan"], ""]
    script = (
        f"<script>const html = {json.dumps(html).replace('</', '<' + chr(92) + '/')};"
        f"document.title = JSON.stringify({json.dumps(asked)}.map(([words, anchor]) =>"
        "Search.makeSearchSummary(html, new Set(words), anchor).textContent))</script></body>"
    )
    page = site / "quoted.html"
    text = (site / "search.html").read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", script), encoding="utf-8")
    assert json.loads(title_in_chromium(page)) == [
        "So are biases of all layers. And more.",
        "AdamW is Adam with decay.",
        "First words, and many of them, so that it is a line. Gains are spared by 0.5 e.g. here. "
        "So are biases of all layers. And more.",
        "NaN · lr is too high for this task, by far",
    ]
