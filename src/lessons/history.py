"""An optimizer's variables, step by step: a figure that plays on a page, with a still for print.

Every value comes from a :class:`lessons.trace.Trace`; every formula is shown with that step's numbers in it.
"""

import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise

import matplotlib.pyplot as plt
import torch

from lessons import plots
from lessons.trace import FORMULAS, Trace


@dataclass(frozen=True)
class Line:
    """One variable of a rule.

    Attributes:
        symbol: the book's sign for it, in HTML.
        code: what the code calls it.
        key: what the trace calls it.
        formula: how it is computed. Names in braces stand for numbers of the step: variables under their
            keys, those of the step before with ``last_`` in front, settings, and ``t``.
        first: the formula of the first step, where that is another one.
    """

    symbol: str
    code: str
    key: str
    formula: str
    first: str | None = None


class History:
    """A figure that steps through an optimizer's updates. A notebook shows it when it ends a cell.

    In a page it plays, and prints as a table of all steps; where HTML has no place it is a still.

    Args:
        trace: of SGD, Adagrad, RMSprop, Adam or AdamW with one weight, from its first step on, of float32 or
            float64. Numbers among the settings may change from step to step, as under a schedule; each
            formula has those of its step. L1 penalties are not drawn.
        caption: what to see; stands below the figure.

    Attributes:
        lines: the variables, in the order in which a step computes them.
        values: one list a variable: its value after each step.
        formulas: one list a variable: how each step computed it, with numbers.

    Raises:
        TypeError: ``trace`` is no trace, or ``caption`` no text.
        ValueError: the trace is empty, has several weights, one of half precision or an L1 penalty, began
            after the first step or misses some; or the rule became another one: a setting that is a word or
            a flag changed, or momentum was turned on or off.
    """

    def __init__(self, trace: Trace, caption: str):
        for name, value, kind in (("trace", trace, Trace), ("caption", caption, str)):
            if not isinstance(value, kind):
                raise TypeError(
                    f"{name} must be a {kind.__name__}, "
                    f"but got {type(value).__name__}: {value!r}"
                )
        params = [
            param for group in trace.optimizer.param_groups for param in group["params"]
        ]
        if len(params) != 1 or params[0].numel() != 1:
            raise ValueError("a history has one weight, but trace has several")
        if params[0].dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"a history shows four digits, more than {params[0].dtype} has"
            )
        if not trace.rows:
            raise ValueError("trace has recorded no step")
        rows = [_floats(row) for row in trace.rows[0]]
        settings, starts = zip(*trace.starts[0], strict=True)
        starts = [_floats(start) for start in starts]
        _check_steps(rows, starts[0])
        rule = FORMULAS[type(trace.optimizer).__name__].__name__
        merged = _merged(settings)
        self.lines = [*_gradient(merged), *LINES[rule](merged), *_end(merged)]
        self.caption = caption
        self.values = [[row[line.key] for row in rows] for line in self.lines]
        self.formulas = [
            [
                _with_numbers(_formula(line, t, start), t, row, start, group)
                for t, (row, start, group) in enumerate(
                    zip(rows, starts, settings, strict=True), start=1
                )
            ]
            for line in self.lines
        ]

    def __repr__(self) -> str:
        return "\n".join(
            f"{line.code}: {', '.join(map(number, values))}"
            for line, values in zip(self.lines, self.values, strict=True)
        )

    def _repr_html_(self) -> str:
        texts = [[number(value) for value in values] for values in self.values]
        # Without its script, as in a notebook that JupyterLab does not trust, the figure shows the first step.
        frames = "".join(
            f"<tr><th scope='row'>{line.symbol} <code>{line.code}</code></th>"
            f"<td>{formulas[0]}</td><td>{shown[0]}</td>"
            "<td hidden><span><i></i><b></b></span></td></tr>"
            for line, formulas, shown in zip(self.lines, self.formulas, texts, strict=True)
        )
        columns = "".join(
            f"<th scope='col'>{line.symbol}<br><code>{line.code}</code></th>"
            for line in self.lines
        )
        table = "".join(
            f"<tr><th scope='row'>{t}</th>{''.join(f'<td>{text}</td>' for text in step)}</tr>"
            for t, step in enumerate(zip(*texts, strict=True), start=1)
        )
        # Bars want no more digits; so the page is the same on every processor. JSON has no infinity and no
        # NaN: there is no bar for these.
        rounded = [
            [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]
            for values in self.values
        ]
        data = json.dumps(
            dict(formulas=self.formulas, texts=texts, values=rounded),
            ensure_ascii=False,
            allow_nan=False,
        )
        assets = files("lessons") / "assets"
        css, js = (
            (assets / f"history.{kind}").read_text(encoding="utf-8")
            for kind in ("css", "js")
        )
        return f"""<figure class="history"><style>
{css}</style><div class="controls" hidden>
<button type="button" aria-label="one step back">‹</button>
<button type="button">Play</button>
<button type="button" aria-label="one step on">›</button>
<input type="range" min="1" max="{len(texts[0])}" value="1" aria-label="step"><output></output>
</div><table class="frames"><caption>step 1 of {len(texts[0])}</caption>
<thead><tr><th scope="col">variable</th><th scope="col">computed as</th><th scope="col">value</th>
<th scope="col" hidden><i>now</i>, <b>before</b></th></tr></thead><tbody>{frames}</tbody></table>
<div class="all"><table><thead><tr><th scope="col"><i>t</i></th>{columns}</tr></thead>
<tbody>{table}</tbody></table></div><figcaption>{html.escape(self.caption)}</figcaption>
<script type="application/json">{data}</script><script>
{{
{js}}}
</script></figure>"""

    def _repr_png_(self) -> bytes:
        rows = -(-len(self.lines) // 3)
        figure, axes = plots.figure(rows, 3, height=1.5, sharex=True)
        for ax in axes.flat[len(self.lines) :]:
            ax.set_axis_off()
        for ax, line, values in zip(axes.flat, self.lines, self.values, strict=False):
            ax.plot(range(1, len(values) + 1), _drawable(values), "o-", color="#0072B2")
            ax.set_title(line.code)
        figure.supxlabel("step t")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        plt.close(figure)
        return buffer.getvalue()


def number(value: float) -> str:
    """Return a number with four digits, and with a minus sign that is one; infinity is inf."""
    return f"{value + 0.0:.4g}".replace("-", "−")


def _setting(value: float) -> str:
    """Return a setting with four digits, or as many as leave four in 1 − value: a beta is near 1."""
    for digits in range(4, 18):
        text = f"{value:.{digits}g}"
        if math.isclose(1 - float(text), 1 - value, rel_tol=1e-4):
            break
    return text.replace("-", "−")


def _drawable(values: list[float]) -> list[float]:
    """Return the values with NaN in the place of what no axis can hold."""
    return [value if abs(value) < 1e300 else math.nan for value in values]


def _floats(row: dict) -> dict[str, float]:
    return {name: float(value) for name, value in row.items()}


def _check_steps(rows: list[dict], start: dict) -> None:
    """Raise unless ``rows`` are all steps from the first one on, ``start`` being the state that it found."""
    if start.get(
        "step", "momentum_buffer" in start
    ):  # SGD counts no steps, but starts its buffer
        raise ValueError("trace began after the optimizer's first step")
    for t, (row, following) in enumerate(pairwise(rows), start=1):
        counted = following.get("step", t + 1) == t + 1
        if not counted or number(row["after"]) != number(following["before"]):
            raise ValueError(
                f"after step {t} trace misses a step, or the weight was set by other means"
            )


def _merged(settings: Sequence[dict]) -> dict:
    """Return what is set at any of the steps, and raise if these do not follow one rule."""
    merged = dict(settings[0])
    for group in settings:
        for name, value in group.items():
            now, then = value, merged[name]
            if not isinstance(value, str | bool | None) and name != "momentum":
                merged[name] = (
                    then or now
                )  # a decay that is 0 at first has its place in the formula
            elif now != then and (name != "momentum" or not now or not then):
                raise ValueError(
                    f"a history has one rule, but {name} went from {then} to {now}"
                )
    if merged.get("l1"):
        raise ValueError(f"a history draws no L1 penalty, but l1 is {merged['l1']}")
    return merged


def _formula(line: Line, t: int, start: dict) -> str:
    """Return the formula of step t: the first one's where ``start`` has nothing to go on from."""
    fresh = t == 1 if line.key == "before" else line.key not in start
    return line.first if line.first and fresh else line.formula


def _with_numbers(formula: str, t: int, row: dict, start: dict, group: dict) -> str:
    """Return a formula with the numbers of step t, of the state that it found, and of its settings."""
    start = {"sum": group.get("initial_accumulator_value", 0.0)} | start
    last = {f"last_{key}": start.get(key, 0.0) for key in row}
    shown = {
        name: f"({number(value)})" if value < 0 else number(value)
        for name, value in (row | last).items()
    }
    return formula.format(**shown | _settings(group) | {"t": t})


def _settings(group: dict) -> dict[str, str]:
    """Return a group's numbers, and ``1 − …`` of those of which the rules use it, with ``rest_`` in front."""
    numbers = {
        name: float(value)
        for name, value in group.items()
        if not isinstance(value, str | bool | tuple | None)
    }
    if "betas" in group:
        numbers["beta1"], numbers["beta2"] = map(float, group["betas"])
    rest = {
        f"rest_{name}": number(1 - numbers[name])
        for name in ("beta1", "beta2", "alpha", "dampening")
        if name in numbers
    }
    return {name: _setting(value) for name, value in numbers.items()} | rest


# --- the variables of each rule, in the order in which it computes them -----------------------------


def _gradient(group: dict) -> list[Line]:
    lines = [
        Line(
            "<i>w</i><sub>t−1</sub>",
            "param, before",
            "before",
            "from the last step",
            "the start",
        ),
        Line(
            "<i>g</i><sub>t</sub>",
            "grad",
            "grad",
            "slope of the loss at <i>w</i><sub>t−1</sub>",
        ),
    ]
    formula = "−{grad}" if group["maximize"] else "{grad}"
    if group["weight_decay"] and not _decoupled(group):
        formula += " + {weight_decay} · {before}"
    if formula != "{grad}":
        lines.append(
            Line("<i>g</i><sub>t</sub>", "grad, in the rule", "total_grad", formula)
        )
    return lines


def _sgd(group: dict) -> list[Line]:
    if not group["momentum"]:
        return [Line("−<i>ηg</i><sub>t</sub>", "update", "update", "−{lr} · {total_grad}")]
    new = "{rest_dampening} · {total_grad}" if group["dampening"] else "{total_grad}"
    direction = "{momentum_buffer}"
    if group["nesterov"]:
        direction = "({total_grad} + {momentum} · {momentum_buffer})"
    return [
        Line(
            "<i>b</i><sub>t</sub>",
            "momentum_buffer",
            "momentum_buffer",
            "{momentum} · {last_momentum_buffer} + " + new,
            "{total_grad}",
        ),
        Line("Δ<i>w</i>", "update", "update", "−{lr} · " + direction),
    ]


def _adagrad(group: dict) -> list[Line]:
    lr = "{lr} / (1 + ({t} − 1) · {lr_decay})" if group["lr_decay"] else "{lr}"
    return [
        Line("Σ<i>g</i>²", "sum", "sum", "{last_sum} + {total_grad}²"),
        Line("<i>η</i>/√Σ<i>g</i>²", "rate", "rate", lr + " / (√{sum} + {eps})"),
        Line("Δ<i>w</i>", "update", "update", "−{rate} · {total_grad}"),
    ]


def _rmsprop(group: dict) -> list[Line]:
    lines = [
        Line(
            "<i>v</i><sub>t</sub>",
            "square_avg",
            "square_avg",
            "{alpha} · {last_square_avg} + {rest_alpha} · {total_grad}²",
        )
    ]
    root = "√{square_avg}"
    if group["centered"]:
        mean = "{alpha} · {last_grad_avg} + {rest_alpha} · {total_grad}"
        lines.append(Line("mean of <i>g</i>", "grad_avg", "grad_avg", mean))
        root = "√({square_avg} − {grad_avg}²)"
    lines.append(
        Line(
            "<i>η</i>/√<i>v</i><sub>t</sub>",
            "rate",
            "rate",
            "{lr} / (" + root + " + {eps})",
        )
    )
    if not group["momentum"]:
        return [*lines, Line("Δ<i>w</i>", "update", "update", "−{rate} · {total_grad}")]
    buffer = "{momentum} · {last_momentum_buffer} + {total_grad} / (" + root + " + {eps})"
    return [
        *lines,
        Line("<i>b</i><sub>t</sub>", "momentum_buffer", "momentum_buffer", buffer),
        Line("Δ<i>w</i>", "update", "update", "−{lr} · {momentum_buffer}"),
    ]


def _adam(group: dict) -> list[Line]:
    first, second = "exp_avg", "exp_avg_sq"
    lines = [
        Line(
            "<i>m</i><sub>t</sub>",
            first,
            first,
            "{beta1} · {last_exp_avg} + {rest_beta1} · {total_grad}",
        ),
        Line(
            "<i>v</i><sub>t</sub>",
            second,
            second,
            "{beta2} · {last_exp_avg_sq} + {rest_beta2} · {total_grad}²",
        ),
    ]
    if _decoupled(group):
        formula = "−{lr} · {weight_decay} · {before}"
        lines.insert(0, Line("−<i>ηλw</i><sub>t−1</sub>", "decay", "decay", formula))
    if group["amsgrad"]:
        second, largest = "max_exp_avg_sq", "max({last_max_exp_avg_sq}, {exp_avg_sq})"
        lines.append(Line("max <i>v</i>", second, second, largest))
    corrected = "{%s} / (1 − {%s}<sup>{t}</sup>)"
    return [
        *lines,
        Line(
            "<i>m̂</i><sub>t</sub>",
            "m, corrected",
            "exp_avg_hat",
            corrected % (first, "beta1"),
        ),
        Line(
            "<i>v̂</i><sub>t</sub>",
            "v, corrected",
            "exp_avg_sq_hat",
            corrected % (second, "beta2"),
        ),
        Line(
            "<i>η</i>/(√<i>v̂</i><sub>t</sub> + <i>ε</i>)",
            "rate",
            "rate",
            "{lr} / (√{exp_avg_sq_hat} + {eps})",
        ),
        Line("Δ<i>w</i>", "update", "update", "−{rate} · {exp_avg_hat}"),
    ]


def _decoupled(group: dict) -> bool:
    return bool(group.get("decoupled_weight_decay") and group["weight_decay"])


def _end(group: dict) -> list[Line]:
    formula = (
        "{before} + {decay} + {update}" if _decoupled(group) else "{before} + {update}"
    )
    return [Line("<i>w</i><sub>t</sub>", "param, after", "after", formula)]


LINES = {f.__name__: f for f in (_sgd, _adagrad, _rmsprop, _adam)}
