"""What compilation costs and gains: the first search step from an empty and from a filled cache, and later steps.

Each batch size gets a new cache of compiled code and two fresh processes that share it. The second one lets eager and
compiled steps (first order) take turns, so that a busy machine slows both alike. CPU seconds are those of all threads;
on a busy machine they say more than the clock, if waiting threads sleep (OMP_WAIT_POLICY=passive).

    python benchmarks/compilation.py
    OMP_WAIT_POLICY=passive python benchmarks/compilation.py --batches 16 --repeats 9
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable

Times = tuple[float, float]
"""Seconds by the clock and on all processors."""


def timed(step: Callable[[], None]) -> Times:
    """How long a step takes."""
    clock, processors = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - clock, time.process_time() - processors


def steps(options: argparse.Namespace, cache: str, repeats: int) -> tuple[Times, list[Times], list[Times]]:
    """The first compiled step of this process, then eager and compiled steps in turn."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    import torch
    from search_step import Search

    from lit_nas.engine import Fused

    torch.set_num_threads(options.threads)
    compiled = Search(options, Fused(compile=True), True)
    first = timed(compiled.first_order)
    if not repeats:
        return first, [], []
    eager = Search(options, Fused(), True)
    for search in (eager, compiled):
        search.first_order()
    pairs = [(timed(eager.first_order), timed(compiled.first_order)) for _ in range(repeats)]
    return first, [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def in_fresh_process(*arguments: object) -> tuple[Times, list[Times], list[Times]]:
    """`steps` in a process that has imported nothing."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(steps, arguments)


def main() -> None:
    """Measures and prints one block of lines per batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("size", 32), ("channels", 16), ("cells", 8), ("repeats", 5), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.set_defaults(device="cpu")
    options = parser.parse_args()
    print(
        f"{options.channels} channels, {options.cells} cells, {options.size}x{options.size}, {options.threads} threads"
    )
    for batch in options.batches:
        options.batch = batch
        with tempfile.TemporaryDirectory() as cache:
            cold, _, _ = in_fresh_process(options, cache, 0)
            warm, eager, compiled = in_fresh_process(options, cache, options.repeats)
        print(f"batch {batch}: first step {cold[0]:.1f} s from an empty cache, {warm[0]:.1f} s from a filled one")
        for place, unit in enumerate(("seconds", "CPU seconds")):
            before, after = ([times[place] for times in each] for each in (eager, compiled))
            ratios = [a / b for a, b in zip(before, after, strict=True)]
            print(
                f"  {unit:12} eager {statistics.median(before):7.3f} ({min(before):.3f} to {max(before):.3f}), "
                f"compiled {statistics.median(after):7.3f} ({min(after):.3f} to {max(after):.3f}), "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
