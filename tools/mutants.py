"""Break the package on purpose, one change at a time, and see whether the tests notice.

Usage: mutants.py [FILE …], such as optim/adam.py; without names, all files listed here. Takes minutes a file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# file → (its own tests; changes: what stands there, what to put in its place).
# What an optimizer's own tests do not notice, those of the others may.
MUTANTS = {
    "optim/sgd.py": (
        ["optim/test_sgd.py", "optim/test_l1.py"],
        [
            ("add(grad, param, weight_decay)", "add(grad, param, -weight_decay)"),
            ("add(grad, param, weight_decay)", "add(param, grad, weight_decay)"),
            ("add(grad, param.sign(), l1)", "add(grad, param, l1)"),
            ("grad.detach().clone()  # ", "grad.detach().clone() * (1 - dampening)  # "),
            ("grad.detach().clone()", "grad.detach()"),
            (".mul_(momentum), grad, 1 - dampening", ".mul_(momentum), grad, 1"),
            (".mul_(momentum), grad", ".mul_(1 - momentum), grad"),
            ("add(grad, buffer, momentum) if nesterov", "add(grad, buffer, 1) if nesterov"),
            ("if nesterov else buffer", "if nesterov else grad"),
            ("add_(param, grad, -lr)", "add_(param, grad, lr)"),
            ("amount = lr * l1", "amount = l1"),
            ("(1 - dampening) / (1 - momentum)", "1 / (1 - momentum)"),
            ("(1 - dampening) / (1 - momentum)", "(1 - dampening)"),
            ('if l1_method == "prox":', 'if l1_method != "prox":'),
            ('state["l1_due"] = state["l1_due"] + amount', 'state["l1_due"] = amount'),
            ('group["momentum"] <= 0 or group["dampening"] != 0', 'group["momentum"] <= 0'),
        ],
    ),
    "optim/adagrad.py": (
        ["optim/test_adagrad.py", "optim/test_l1.py"],
        [
            ("add(grad, param, weight_decay)", "add(grad, param, -weight_decay)"),
            ('add_square_(state["sum"], grad, 1)', 'add_square_(state["sum"], grad, 0.9)'),
            ("(step - 1) * lr_decay", "step * lr_decay"),
            ("total.sqrt().add_(eps)", "total.add(eps).sqrt_()"),
            ("total.sqrt()", "total.pow(0.4)"),
            (
                "add_quotient_(param, grad, root, -lr)",
                "add_quotient_(param, grad, root, lr)",
            ),
            ("lr * l1 / root", "lr * l1"),
            (
                'torch.full_like(param, group["initial_accumulator_value"])',
                "torch.zeros_like(param)",
            ),
        ],
    ),
    "optim/rmsprop.py": (
        ["optim/test_rmsprop.py"],
        [
            ("add(grad, param, weight_decay)", "add(grad, param, -weight_decay)"),
            ("mul_(alpha), grad, 1 - alpha)", "mul_(alpha), grad, alpha)"),
            ("lerp_(grad, 1 - alpha)", "lerp_(grad, alpha)"),
            ("mean, mean, value=-1", "mean, mean, value=1"),
            ("root.add_(eps)", "root.add_(0)"),
            (
                "add_quotient_(param, grad, root, -lr)",
                "add_quotient_(param, grad, root, lr)",
            ),
            (".mul_(momentum).addcdiv_", ".mul_(1 - momentum).addcdiv_"),
            ("addcdiv_(grad, root), -lr)", "addcdiv_(grad, root), -lr * 0.9)"),
            ("if centered:\n        mean", "if not centered and False:\n        mean"),
        ],
    ),
    "optim/adam.py": (
        ["optim/test_adam.py", "optim/test_l1.py"],
        [
            ("if decoupled_weight_decay:", "if not decoupled_weight_decay:"),
            ("1 - lr * weight_decay", "1 - weight_decay"),
            ("1 - lr * weight_decay", "1 + lr * weight_decay"),
            ("add(grad, param, weight_decay)", "add(grad, param, lr * weight_decay)"),
            ("lerp_(grad, 1 - beta1)", "lerp_(grad, beta1)"),
            ("mul_(beta2), grad, 1 - beta2)", "mul_(beta2), grad, 1)"),
            ("mul_(beta2), grad, 1 - beta2)", "mul_(beta1), grad, 1 - beta2)"),
            (
                "torch.maximum(largest, v, out=largest)",
                "torch.minimum(largest, v, out=largest)",
            ),
            ("torch.maximum(largest, v, out=largest)", "torch.maximum(largest, v)"),
            ("(1 - beta2**step) ** 0.5", "(1 - beta2**step)"),
            (
                "div_((1 - beta2**step) ** 0.5).add_(eps)",
                "add_(eps).div_((1 - beta2**step) ** 0.5)",
            ),
            (".add_(eps)", ".add_(0)"),
            ("-(lr / (1 - beta1**step))", "-lr"),
            ("-(lr / (1 - beta1**step))", "lr / (1 - beta1**step)"),
            ("lr * l1 / root", "lr * l1"),
            ("lr * l1 / root", "l1 / root"),
            (
                "decoupled_weight_decay=True,\n            l1=l1",
                "decoupled_weight_decay=False,\n            l1=l1",
            ),
            ("weight_decay=1e-2", "weight_decay=0"),
            ("betas=(0.9, 0.999)", "betas=(0.9, 0.99)"),
            ("below=1,", "below=2,"),
        ],
    ),
    "optim/ftrl.py": (
        ["optim/test_ftrl.py"],
        [
            ('(beta + n.sqrt()) / state["lr"]', "(beta + n.sqrt()) / lr"),
            (
                "(beta + add_square_(n, grad, 1).sqrt()) / lr",
                "add_square_(n, grad, 1).sqrt() / lr",
            ),
            ("add_square_(n, grad, 1)", "add_square_(n, grad, 0.5)"),
            ("z.add_(grad).sub_((after - before) * param)", "z.add_(grad)"),
            ("z.add_(grad)", "z.sub_(grad)"),
            ("rounds = step if per_step else 1", "rounds = 1"),
            ("rounds = step if per_step else 1", "rounds = step"),
            ("soft_threshold_(z.clone(), rounds * l1)", "soft_threshold_(z, rounds * l1)"),
            ("after + rounds * l2", "after + l2"),
            ("out=param).neg_()", "out=param)"),
            ('-group["beta"] / group["lr"]', "0.0"),
            ('state["lr"] = lr * 1', 'state["lr"] = lr'),
        ],
    ),
    "optim/prox.py": (
        ["optim/test_prox.py", "optim/test_l1.py"],
        [
            ("param.clamp(-threshold, threshold)", "param.clamp(-threshold, 0)"),
            ("param.clamp(-threshold, threshold)", "param.sign() * threshold"),
            ("(before - (due + received))", "(before - due)"),
            ("(before + (due - received))", "(before + due)"),
            ("clamp_(max=0)", "clamp_(max=1)"),
            ("received.add_(param - before)", "received.sub_(param - before)"),
        ],
    ),
    "optim/base.py": (
        ["optim/test_base.py", "optim/test_complex_and_sparse.py"],
        [
            ("torch.addcmul(x, y, factor)", "torch.addcmul(x, y, factor * 2)"),
            ("x.addcmul_(y * y, factor)", "x.addcmul_(y, factor)"),
            (
                "x.addcdiv_(numerator * factor, denominator)",
                "x.addcdiv_(numerator, denominator)",
            ),
            ('state["step"] += 1', 'state["step"] += 2'),
            ("if not 0 <= number < below:", "if not 0 <= number <= below:"),
            ("if not 0 <= number < below:", "if not number < below:"),
            ("isinstance(number, bool) or", "False or"),
            ("self.check({**self.defaults, **param_group})", "pass"),
            ('-param.grad if group["maximize"] else', "param.grad if True else"),
            ("        self._check_gradients()\n", ""),
            ("grad = grad.coalesce()", "grad = grad"),
            ("if missing:\n", "if False:\n"),
            ("if group.get(place) != saved.get(place):", "if False:"),
            ("with torch.enable_grad():", "with torch.no_grad():"),
            (
                'torch.zeros((), dtype=torch.float32, device="cpu")',
                "torch.ones((), dtype=torch.float32)",
            ),
        ],
    ),
    "stack.py": (
        ["test_sweep.py"],
        [
            ("torch.manual_seed(seed)", "torch.manual_seed(0)"),
            ("with SEEDING, torch.random.fork_rng(devices=[])", "with SEEDING"),
            ("with SEEDING, torch.random", "with torch.random"),
            ("and not isinstance(value, (bool, str))", "and not isinstance(value, bool)"),
            (
                "torch.set_default_dtype(self.default_dtype)",
                "torch.set_default_dtype(before)",
            ),
            ("            torch.set_default_dtype(before)\n", "            pass\n"),
            ("if name not in axes}", "}"),
            ("[self.schedule(moment) for moment in moments]", "[self.schedule(0.0)]"),
            (
                "recipe.data(seed) if callable",
                "recipe.data(seeds[0]) if callable",
            ),
            ("[build(recipe.model, seed) for", "[build(recipe.model, seeds[0]) for"),
            ("if p.requires_grad", "if True"),
            ("repeat_interleave(len(self.cells), 0)", "repeat(len(self.cells), 1)"),
            (
                "tensor.unsqueeze(1).expand(-1, len(self.cells), *tensor.shape[1:])",
                "tensor.unsqueeze(0).expand(len(self.cells), *tensor.shape)",
            ),
            (
                "for _ in self.seeds for cell in self.cells",
                "for cell in self.cells for _ in self.seeds",
            ),
            ("recipe.settings | self.cells[0]", "recipe.settings"),
            ("settings | hyper)", "recipe.settings)"),
            ("recipe.steps, seed) + i * examples", "recipe.steps, 0) + i * examples"),
            ("recipe.steps, seed) + i * examples", "recipe.steps, seed)"),
            ("gradient.neg_()", "pass"),
            ('hyper["lr"] = lr * recipe', 'hyper["lr"] = hyper["lr"] * recipe'),
            (
                "recipe.schedule(t / recipe.steps)",
                "recipe.schedule((t + 1) / recipe.steps)",
            ),
            ("self.module.eval()", "self.module.train()"),
            ("* (y.shape[1] / examples)", "/ len(inputs.split(size, 1))"),
            ("losses.where(losses.isfinite(), math.nan)", "losses"),
            (
                "losses.where(losses.isfinite(), math.nan)",
                "losses.where(~losses.isnan(), 0)",
            ),
            ("/ targets[0].numel()", "/ targets.numel()"),
            ("outputs.max(2)", "outputs.min(2)"),
            (
                "view(len(self.seeds), len(self.cells)).T",
                "view(len(self.cells), len(self.seeds))",
            ),
            ("slopes.mul_(scale / targets.shape[1])", "slopes.mul_(scale)"),
            ("slopes.mul_(scale / targets.shape[1])", "slopes.div_(targets.shape[1])"),
            ("(outputs, targets) * scale", "(outputs, targets)"),
            ("usual and targets.dim() == 2", "usual"),
            ("usual = self.recipe.loss is F.cross_entropy", "usual = True"),
            ("if self.is_mlp and x.dim() == 3", "if self.is_mlp"),
            ("return plain and own == every", "return plain"),
            (
                "if type(module) is not nn.Sequential",
                "if not isinstance(module, nn.Sequential)",
            ),
            ("x = layer(x)", "x = layer(layer(x))"),
            ("if layer.bias is None", "if True"),
        ],
    ),
    "sweep.py": (
        ["test_sweep.py"],
        [
            ("0.5 * (1 + math.cos", "0.5 * (1 - math.cos"),
            ("isinstance(count, bool) or not", "not"),
            ("or count < 1", "or count < 0"),
            ("or len(set(seeds)) < len(seeds)", ""),
            ("0 < loss_scale < math.inf", "0 < loss_scale"),
            ("        recipe.check_pickles()", "        pass"),
            ("fit if on_cpu else len(cells) * len(seeds)", "len(cells) * len(seeds)"),
            ("            _take_over(resume, result)", "            pass"),
            (
                "            _take_over(resume, result)\n        result.save(resume)",
                "            _take_over(resume, result)",
            ),
            ("if not finished[np.ix_(*place)].all()", "if True"),
            (
                "if not finished[np.ix_(*place)].all()",
                "if not finished[np.ix_(*place)].any()",
            ),
            (
                "                result.save(resume)\n            bar",
                "                pass\n            bar",
            ),
            ("        bar.update(int(finished.sum()))\n", ""),
            ("disable=not progress", "disable=progress"),
            ('    del metrics["finished"]\n', ""),
            ("[1:]\n    if name not in names", "[:]\n    if False and name not in names"),
            ("kind = None if isinstance(default, (bool, str)) else float", "kind = None"),
            ("kind = None if isinstance(default, (bool, str)) else float", "kind = float"),
            ("values = tuple(map(tuple, values))", "pass"),
            ("        optimizer.check(group | cell)", "        pass"),
            ("if not stacks(optimizer, name, value)", "if False"),
            ("max(1, chunk // len(rows))", "max(1, chunk)"),
            ("range(0, len(rows), chunk)", "range(0, len(rows), len(rows))"),
            ("                    other.cancel()", "                    pass"),
            ("            future.cancel()", "            pass"),
            ("elif failure is None:", "else:"),
            ("        failure.add_note(", "        print("),
            ("        raise failure", "        return"),
            ('"seeds": of.seeds, ', ""),
            ("**of.about", ""),
            ('{"axes": [*of.axes.items()], ', "{"),
            ("found.metrics.get(name, 1)", "found.metrics.get(name, 0)"),
        ],
    ),
    "results.py": (
        ["test_sweep.py"],
        [
            ("mean(axis=-1)", "mean(axis=0)"),
            ("mean(axis=-1)", "max(axis=-1)"),
            ("if len(self.axes[name]) > 1\n            and", "if"),
            ("i in (0, len(self.axes[name]) - 1)", "i in (0,)"),
            ("and not isinstance(self.axes[name][0], (bool, str))", ""),
            ("if value not in axes.get(name, ())", "if False"),
            ("array.take(i, dimension)", "array.take(i, 0)"),
            ("{**self.about, **values}", "self.about"),
            ("if len(self.axes) != 2", "if len(self.axes) < 2"),
            ("(ylabel, y), (xlabel, x)", "(xlabel, x), (ylabel, y)"),
            ("if not np.isnan(mean).all()", "if False"),
            ("        figure.colorbar(image, label=name)\n", ""),
            ('Path(f"{path}.part")', "Path(path)"),
            ("if zipfile.is_zipfile(path) else {}", ""),
            ("tuple(v) if isinstance(v, list) else v", "v"),
            ('tuple(labels["seeds"])', 'labels["seeds"]'),
            ('1 if metric.endswith("accuracy") else -1', "1"),
            ("np.where(np.isnan(score), -np.inf, score)", "score"),
            ("if np.isneginf(score).all()", "if False"),
            ("std(ddof=1)", "std()"),
            ("stdtrit(len(difference) - 1, 0.975)", "stdtrit(len(difference), 0.975)"),
            ("stdtrit(len(difference) - 1, 0.975)", "1.96"),
            ("first - second\n", "second - first\n"),
            ("or len(first) < 2", ""),
        ],
    ),
}


def noticed(file: str, old: str, new: str, tests: list[str]) -> bool:
    """Return whether a test fails when ``old`` is replaced by ``new`` in one file of a copy of the package."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", f"{folder}/src")
        path = Path(folder, "src/lessons", file)
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"{file} has no {old!r}: this list is older than the file")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": f"{folder}/src", "OMP_NUM_THREADS": "1"}
        chosen = [[f"tests/{name}" for name in tests]]
        if file.startswith("optim/"):
            chosen.append(["tests/optim"])
        for paths in chosen:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                *paths,
            ]
            if subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True
            ).returncode:
                return True
    return False


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in MUTANTS]
    if unknown:
        raise SystemExit(
            f"no mutants for {', '.join(unknown)}; there are {', '.join(MUTANTS)}"
        )
    missed = 0
    for file in names or MUTANTS:
        tests, changes = MUTANTS[file]
        for old, new in changes:
            seen = noticed(file, old, new, tests)
            missed += not seen
            print(
                f"{'noticed' if seen else 'MISSED '} {file}: {old!r} → {new!r}", flush=True
            )
    print(f"mutants: {missed} missed")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
