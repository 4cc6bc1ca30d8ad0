"""What the tests share: the devices and number types that every optimizer is tried on."""

import os

# The tests are spread over processes; threads within each would only fight for the cores. The variable is for
# the processes that tests start: with two threads they would sum in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from hypothesis import settings

# The same examples on every run, however long one takes on a busy machine.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")

torch.set_num_threads(1)

DEVICES = ["cpu"]
DEVICES += ["cuda"] * torch.cuda.is_available()
DEVICES += ["mps"] * torch.backends.mps.is_available()


@pytest.fixture(params=DEVICES)
def device(request):
    """Each device of this machine: always the CPU, and the GPU where there is one."""
    return request.param


@pytest.fixture(params=[torch.float32, torch.float64], ids=["float32", "float64"])
def dtype(request, device):
    """Both number types, as far as the device knows them."""
    if device == "mps" and request.param is torch.float64:
        pytest.skip("mps has no float64")
    return request.param


@pytest.fixture
def one_thread():
    """As in the executors' processes: so that the sums are rounded alike."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
