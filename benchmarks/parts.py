"""Where the time of a search step goes, part by part, and how far each part is from the machine's limits.

The arithmetic limit is the operations of a part over the rate of a large matrix product measured here, the memory
limit is its bytes over the rate of a copy measured here; no program that runs the parts one after the other is
faster than the larger of both.

    python benchmarks/parts.py
    python benchmarks/parts.py --engine reference --contiguous
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from search_step import ENGINES, Search
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

PARTS = {
    "convolutions, backward": ("convolution_backward", "_DepthwiseBackward"),
    "convolutions, forward": ("convolution", "_Depthwise", "cudnn_convolution", "_conv_depthwise2d"),
    "matrix products (pointwise)": ("mm", "bmm", "addmm", "baddbmm", "linear"),
    "BatchNorm, backward": ("batch_norm_backward", "batch_norm_elementwise"),
    "BatchNorm, forward": ("batch_norm",),
    "pooling": ("pool",),
    "sums": ("add", "add_", "sum"),
    "ReLU": ("relu", "clamp_min", "threshold"),
    "mixing weights": ("mul", "addcmul"),
    "copies and fills": ("copy_", "fill_", "cat", "zero_", "constant_pad"),
}
"""Name of a part -> parts of the names of its kernels; the first that matches counts."""


def rate(run: Callable[[], object], amount: float, device: str) -> float:
    """Amount per second of the fastest of five runs."""
    times = []
    for _ in range(6):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return amount / min(times[1:])


def limits(device: str) -> tuple[float, float]:
    """Operations a second of a large matrix product, and bytes a second of a copy, read and written."""
    a, source = torch.randn(2048, 2048, device=device), torch.randn(2**26, device=device)
    target = torch.empty_like(source)
    return rate(lambda: a @ a, 2 * 2048**3, device), rate(lambda: target.copy_(source), 8 * 2**26, device)


def part_of(kernel: str) -> str:
    """The part that a kernel belongs to."""
    name = kernel.removeprefix("aten::")
    for part, words in PARTS.items():
        if any(name == word or (len(word) > 4 and word in name) for word in words):
            return part
    return "everything else (dispatch, views, Python)"


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 64), ("size", 32), ("channels", 16), ("cells", 8), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--engine", default="fused", choices=sorted(ENGINES))
    parser.add_argument("--contiguous", action="store_true", help="images in the contiguous layout")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    flops, copied = limits(options.device)
    print(f"matrix product {flops / 1e9:.0f} GFLOP/s, copy {copied / 1e9:.1f} GB/s (read and written)")

    search = Search(options, ENGINES[options.engine], not options.contiguous, "float32")
    search.first_order()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        search.loss(0)
    # twice forward, twice the gradient of activations, once that of weights; each costs as much as the other
    operations = 5 * counter.get_total_flops()
    start = time.perf_counter()
    search.first_order()
    if options.device == "cuda":
        torch.cuda.synchronize()
    wall = time.perf_counter() - start
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if options.device == "cuda" else [])]
    with profile(activities=activities) as profiler:
        search.first_order()
    totals: dict[str, tuple[float, int]] = {}
    for event in profiler.key_averages():
        spent = event.self_device_time_total if options.device == "cuda" else event.self_cpu_time_total
        seconds, calls = totals.get(part_of(event.key), (0.0, 0))
        totals[part_of(event.key)] = seconds + spent / 1e6, calls + event.count
    profiled = sum(seconds for seconds, _ in totals.values())
    print(f"step {wall:.3f} s ({options.engine}, first order, batch {options.batch}); profiled {profiled:.3f} s")
    for part, (seconds, calls) in sorted(totals.items(), key=lambda item: -item[1][0]):
        print(f"{part:45}{seconds:9.3f} s{100 * seconds / profiled:7.1f} %{calls:9d} calls")
    limit = operations / flops
    print(f"arithmetic {operations / 1e9:.0f} GFLOP: at least {limit:.3f} s, {wall / limit:.1f}x above it")
    print(f"a copy moves {wall * copied / 1e9:.0f} GB in the time of this step")


if __name__ == "__main__":
    main()
