"""Break the optimizers on purpose, one change at a time, and see whether the tests notice.

Usage: mutants.py [FILE …], such as adam.py; without names, all files of lessons.optim. Takes minutes a file.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# file → (its own tests, which go first; changes: what stands there, what to put in its place)
MUTANTS = {
    "sgd.py": (
        ["test_sgd.py", "test_l1.py"],
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
    "adagrad.py": (
        ["test_adagrad.py", "test_l1.py"],
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
    "rmsprop.py": (
        ["test_rmsprop.py"],
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
    "adam.py": (
        ["test_adam.py", "test_l1.py"],
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
    "ftrl.py": (
        ["test_ftrl.py"],
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
    "prox.py": (
        ["test_prox.py", "test_l1.py"],
        [
            ("param.clamp(-threshold, threshold)", "param.clamp(-threshold, 0)"),
            ("param.clamp(-threshold, threshold)", "param.sign() * threshold"),
            ("(before - (due + received))", "(before - due)"),
            ("(before + (due - received))", "(before + due)"),
            ("clamp_(max=0)", "clamp_(max=1)"),
            ("received.add_(param - before)", "received.sub_(param - before)"),
        ],
    ),
    "base.py": (
        ["test_base.py", "test_complex_and_sparse.py"],
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
}


def noticed(file: str, old: str, new: str, tests: list[str]) -> bool:
    """Return whether a test fails when ``old`` is replaced by ``new`` in one file of a copy of the package."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", f"{folder}/src")
        path = Path(folder, "src/lessons/optim", file)
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"{file} has no {old!r}: this list is older than the file")
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": f"{folder}/src", "OMP_NUM_THREADS": "1"}
        own = [f"tests/optim/{name}" for name in tests]
        for chosen in (own, ["tests/optim"]):
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                *chosen,
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
