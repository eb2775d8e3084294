"""Gradients of every candidate against float64, also as a processor without AVX-512 computes them."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lit_nas.engine import Fused, Reference
from lit_nas.operations import COPIES, EVALUATION, OPERATIONS, SEARCH, FactorizedReduce, ReLUConvBN, build_operation
from tests.engine.test_equality import assert_equal, everything, make_cell, results

ROOT = Path(__file__).parents[2]
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""What makes the libraries compute as they do on a processor without AVX-512."""
MAPS = (4, 8, 16, 32)
# neither copies, which compute what the original does, nor what other tests have registered
NAMES = tuple(name for name in OPERATIONS if name not in COPIES and not name.startswith("tiny_"))


def operations(channels: int, strides):
    """Every candidate, and the other operations that networks are built of, by a name."""
    for stride in strides:
        for style in (SEARCH, EVALUATION):
            for name in NAMES:
                yield f"{name}, stride {stride}, {style}", build_operation(name, channels, stride, style)
    for size in (1, 3):
        yield f"ReLUConvBN {size}", ReLUConvBN(channels, 2 * channels, size, 2, affine=False, bias=True)
    yield "FactorizedReduce", FactorizedReduce(4 * channels, channels, affine=True)


def gradients(operation, x, layout, dtype):
    """Gradients of the input and of all parameters, in float64."""
    operation = operation.to(dtype)
    operation.zero_grad()
    x = x.to(dtype).contiguous(memory_format=layout).requires_grad_()
    y = operation(x)
    weight = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).sin().view_as(y).to(dtype)
    (y * weight).sum().backward()
    # BatchNorm takes a bias out again: what is left of its gradient is rounding
    kept = [p.grad for name, p in operation.named_parameters() if not name.endswith("conv.bias")]
    return [tensor.double() for tensor in (x.grad, *kept)]


def check(channels: int, layout: torch.memory_format, maps=MAPS, strides=(2,)) -> None:
    for size in maps:
        for name, operation in operations(channels, strides):
            factor = 4 if name == "FactorizedReduce" else 1
            x = torch.randn(6, factor * channels, size, size)
            exact = gradients(operation, x, torch.contiguous_format, torch.float64)
            found = gradients(operation, x, layout, torch.float32)
            for ours, expected in zip(found, exact, strict=True):
                # rounding may move a pixel over the threshold of a ReLU: far less than what is looked for here
                error = (ours - expected).abs().max() / expected.abs().max().clamp_min(1e-3)
                assert error < 0.02, f"{name}, {channels} channels, {size}x{size}: {error}"


def check_engine(channels: int) -> None:
    """The same of the fused engine, which runs strided candidates itself."""
    exact, plain = (make_cell("reduce", NAMES, channels, d) for d in (torch.float64, torch.float32))
    plain.load_state_dict(exact.state_dict())
    for size, batched in itertools.product((8, 32), (False, True)):
        expected = results(Reference(), exact, everything(exact), size, channels=channels)
        found = results(Fused(batch_edges=batched), plain, everything(plain), size, channels=channels)
        found = {name: None if value is None else value.double() for name, value in found.items()}
        assert_equal(found, expected, 0.02, least=1e-3)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("channels", [2, 4])
def test_gradients_are_those_of_float64(channels, layout):
    check(channels, layout, maps=(8,), strides=(1, 2))


@pytest.mark.parametrize("threads", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_gradients_without_avx512(threads):
    """In a process of its own, because the variables are read once, and because memory would be corrupted."""
    script = (
        "import torch; from tests.operations.test_gradients import check, check_engine; "
        f"torch.set_num_threads({threads}); torch.manual_seed(0); "
        "[(check(channels, torch.channels_last), check_engine(channels)) for channels in (2, 4)]"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT, env={**os.environ, **AVX2, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
