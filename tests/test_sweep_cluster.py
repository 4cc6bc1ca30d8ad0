import functools
import os

import pytest
from sweeps import assert_same, deadly, mlp, run


@pytest.mark.usefixtures("one_thread")
def test_a_dask_cluster_that_loses_a_worker_loses_nothing(tmp_path):
    distributed = pytest.importorskip("distributed")
    died, seeds = tmp_path / "died", (3, 1, 2, 5)
    deadly_data = functools.partial(deadly, at=1, parent=os.getpid(), died=str(died))
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        survived = run(
            model=lambda: mlp(),  # Dask sends functions of any kind
            data=deadly_data,
            seeds=seeds,
            chunk=3,
            executor=client.get_executor(),
        )
    assert died.exists()
    assert_same(survived, run(seeds=seeds, chunk=3))
