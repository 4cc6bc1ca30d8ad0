import concurrent.futures
import functools
import multiprocessing
import os

import pytest
import torch
import torch.nn.functional as F
from sweeps import (
    Convolutions,
    Visits,
    assert_same,
    data,
    deadly,
    mlp,
    run,
)

from lessons.sweep import SweepResult, cosine


@pytest.fixture(scope="module")
def processes():
    # "spawn": a copy of a process whose threads have computed may hang.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(
        2, context, initializer=torch.set_num_threads, initargs=(1,)
    ) as executor:
        yield executor


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("model", [mlp, Convolutions])
def test_processes_give_the_same_bits(processes, model):
    changes = dict(model=model, seeds=(3, 1, 2), chunk=4, schedule=cosine)
    assert_same(run(executor=processes, **changes), run(**changes))


@pytest.mark.usefixtures("one_thread")
def test_processes_take_tensors_and_the_default_type(processes):
    """Weights that are drawn as float64 are others than those drawn as float32."""
    changes = dict(data=data(1), chunk=4, dtype=torch.float32)
    single = run(**changes)
    assert_same(run(executor=processes, **changes), single)
    torch.set_default_dtype(torch.float64)
    try:
        expected = run(**changes)
        assert_same(run(executor=processes, **changes), expected)
    finally:
        torch.set_default_dtype(torch.float32)
    assert (expected.metrics["train_loss"] != single.metrics["train_loss"]).all()
    left = [processes.submit(torch.get_default_dtype) for _ in range(8)]
    assert {future.result() for future in left} == {torch.float32}


@pytest.mark.usefixtures("one_thread")
def test_threads_do_not_disturb_each_others_initial_weights():
    changes = dict(seeds=range(8), steps=2, chunk=2)
    expected = run(**changes)
    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            assert_same(run(executor=executor, **changes), expected)


@pytest.mark.parametrize("name", ["model", "data", "loss", "schedule"])
def test_what_no_process_can_be_sent_is_named(processes, name):
    function = {"model": mlp, "data": data, "loss": F.cross_entropy, "schedule": cosine}
    with pytest.raises(TypeError, match=f"^{name} cannot be sent to another process: .*kl"):
        run(executor=processes, **{name: lambda *args: function[name](*args)})


def test_threads_need_no_pickle():
    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        assert_same(run(executor=executor, model=lambda: mlp(), chunk=3), run(chunk=3))


def test_a_failure_ends_the_sweep_and_keeps_what_was_done(tmp_path):
    path, seeds = tmp_path / "sweep.npz", (3, 1, *range(10, 60))
    visits = Visits(RuntimeError("out of memory"), at=1)
    with (
        concurrent.futures.ThreadPoolExecutor(1) as executor,
        pytest.raises(RuntimeError, match="out of memory"),
    ):
        run(data=visits, seeds=seeds, chunk=6, resume=path, executor=executor)
    finished = SweepResult.load(path).metrics["finished"][0, 0]
    assert finished[:2].tolist() == [1, 0]
    assert finished.sum() == len(visits.seeds) - 2 < 40  # the one begun was waited for


class Given:
    """An executor that gives out these futures, one for each job."""

    def __init__(self, *futures):
        self.futures = iter(futures)

    def submit(self, job, *arguments):
        future = next(self.futures)
        if future is None:
            future = concurrent.futures.Future()
            future.set_result(job(*arguments))
        return future


def test_of_two_failures_the_first_one_is_raised():
    class Late(concurrent.futures.Future):
        def cancel(self):  # it has begun: it fails a little later than the first
            if not self.done():
                self.set_exception(RuntimeError("the second"))
            return False

    first = concurrent.futures.Future()
    first.set_exception(RuntimeError("the first"))
    with pytest.raises(RuntimeError, match="the first"):
        run(axes={"lr": [0.1, 0.2]}, seeds=(0,), chunk=1, executor=Given(first, Late()))


def test_an_interrupt_cancels_what_has_not_begun(tmp_path, monkeypatch):
    waiting, saved = concurrent.futures.Future(), []

    def save(result, path):
        saved.append(path)
        if len(saved) == 2:  # the first time before the training, the second after a block
            raise KeyboardInterrupt

    monkeypatch.setattr(SweepResult, "save", save)
    with pytest.raises(KeyboardInterrupt):
        run(
            axes={"lr": [0.1, 0.2]},
            seeds=(0,),
            chunk=1,
            executor=Given(None, waiting),
            resume=tmp_path / "sweep.npz",
        )
    assert waiting.cancelled()


@pytest.mark.usefixtures("one_thread")
def test_a_killed_process_loses_nothing_that_was_done(tmp_path):
    died, path, seeds = tmp_path / "died", tmp_path / "sweep.npz", (3, 1, 2)
    changes = dict(
        data=functools.partial(deadly, at=1, parent=os.getpid(), died=str(died)),
        seeds=seeds,
        chunk=3,
        resume=path,
    )
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(1, context) as executor,
        pytest.raises(concurrent.futures.BrokenExecutor, match=r"resume=.* keeps what was"),
    ):
        run(executor=executor, **changes)
    assert died.exists()
    assert SweepResult.load(path).metrics["finished"][:, 0].T.tolist() == [
        [1, 1],
        [0, 0],
        [0, 0],
    ]
    visits = Visits()
    resumed = run(**changes | {"data": visits})
    assert visits.seeds == [3, 1, 1, 2, 2]
    assert_same(resumed, run(seeds=seeds, chunk=3))
