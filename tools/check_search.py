"""Check the built site's search: each query of ``search_words.toml`` finds its page first.

Usage: check_search.py _build/html [QUERY...]

Sphinx's own scripts are run, as the page of results runs them. With queries, what they find is printed.
"""

import json
import sys
from pathlib import Path

from check_site import print_in_any_locale, tell
from py_mini_racer import MiniRacer
from search_words import table

# As much of a browser as the scripts ask for before they show anything.
BROWSER = """
const SPHINX_HIGHLIGHT_ENABLED = false, _ready = () => {}, _ = (text) => text;
const document = { getElementById: () => null };
"""
SCRIPTS = ("_static/searchtools.js", "_static/language_data.js", "searchindex.js")
ASK = """
const ask = (query) => JSON.stringify(Search._performSearch(...Search._parseQuery(query))
  .reverse().map(([page, title, anchor]) => page + anchor));
"""


class Searches:
    """The site's search: ``with Searches(site) as ask: ask("Adam")`` is a list of places, best first."""

    def __init__(self, site: Path):
        self.engine = MiniRacer()
        self.engine.eval(BROWSER)
        for script in SCRIPTS:
            self.engine.eval((site / script).read_text(encoding="utf-8"))
        self.engine.eval(ASK)

    def __enter__(self):
        return lambda query: json.loads(self.engine.call("ask", query))

    def __exit__(self, *_):
        self.engine.close()  # one that is left open would hang at the end


def problems_of(site: Path, first: dict[str, list[str]]) -> list[str]:
    """Return the queries that do not find one of their pages first, a line each."""
    problems = []
    with Searches(site) as ask:
        for query, pages in first.items():
            found = ask(query)
            if not found:
                problems.append(f"{query}: finds nothing")
            elif found[0].partition("#")[0] not in pages:
                problems.append(f"{query}: finds {', '.join(found[:3])} before {pages[0]}")
    return problems


def main(arguments: list[str]) -> int:
    if not arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print_in_any_locale()
    site, queries = Path(arguments[0]), arguments[1:]
    if queries:
        with Searches(site) as ask:
            for query in queries:
                print(query, *ask(query)[:6], sep="\n  ")
        return 0
    first = table()["first"]
    return tell(f"search: {len(first)} queries,", problems_of(site, first))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
