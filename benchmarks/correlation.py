"""What correlations of candidates cost: against the forward passes that they need, and in memory.

Passes alone and correlations take turns, a few batches each, so that a busy machine slows both alike; both are without
gradients, in evaluation mode, on the fused engine. CPU seconds are those of all threads: on a busy machine they say
more than the clock. Memory is the peak of the process after correlations over some of the images and then over all of
them: the second one does not add to the first.

    python benchmarks/correlation.py
    python benchmarks/correlation.py --edges all --channels 8 --cells 5
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from lit_nas.architecture import Architecture
from lit_nas.correlation import OperatorCorrelation
from lit_nas.networks import SearchNetwork
from lit_nas.relaxations import Softmax
from lit_nas.spaces import DartsSpace
from lit_nas.specs import ImageSpec


class Supernet:
    """A search network and its architecture.

    Args:
        options: Sizes, from the command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(0)
        self.options = options
        space = DartsSpace(options.channels, options.cells)
        spec = ImageSpec(height=options.size, width=options.size)
        self.network = SearchNetwork(space, spec).to(options.device).eval()
        self.architecture = Architecture(space, Softmax()).to(options.device).eval()
        with torch.no_grad():  # statistics of images like those below, so that no ReLU is dead
            self.network.train()(next(self.batches(options.batch)), self.architecture())
            self.network.eval()
        self.how = OperatorCorrelation(options.edges)

    def batches(self, images: int) -> Iterator[Tensor]:
        """Noise, `images` of it."""
        source = torch.Generator(self.options.device).manual_seed(1)
        shape = (3, self.options.size, self.options.size)
        for start in range(0, images, self.options.batch):
            size = min(self.options.batch, images - start)
            yield torch.randn(size, *shape, generator=source, device=self.options.device)

    @torch.no_grad()
    def passes(self, images: int) -> None:
        """The network alone."""
        mixture = self.architecture()
        for batch in self.batches(images):
            self.network(batch, mixture)

    def correlations(self, images: int) -> None:
        """The network and what is correlated."""
        self.how.measure(self.network, self.architecture, self.batches(images), images)


def seconds(run: object, images: int, device: str) -> tuple[float, float]:
    """Clock and CPU seconds of a run over images."""
    start = time.perf_counter(), time.process_time()
    run(images)  # type: ignore[operator]
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def peak(device: str) -> float:
    """MiB that the process has held at most."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 64), ("size", 32), ("channels", 16), ("cells", 8), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=2_000, help="images whose memory that of all is compared with")
    parser.add_argument("--turns", type=int, default=5, help="into how many turns the images are divided")
    parser.add_argument("--edges", default="ends", choices=["ends", "all"])
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(options.threads)
    supernet, each = Supernet(options), -(-options.images // options.turns)
    supernet.passes(options.batch)
    totals = {"passes": [0.0, 0.0], "correlations": [0.0, 0.0]}
    for _ in range(options.turns):
        for name, total in totals.items():
            for place, value in enumerate(seconds(getattr(supernet, name), each, options.device)):
                total[place] += value
    print(f"{options.turns} x {each} images, edges {options.edges}")
    print(f"{'':14}{'clock s':>10}{'CPU s':>10}")
    for name, (clock, cpu) in totals.items():
        print(f"{name:14}{clock:>10.2f}{cpu:>10.2f}")
    print(f"{'ratio':14}" + "".join(f"{b / a:>9.2f}x" for a, b in zip(*totals.values(), strict=True)))
    held = []
    for images in (options.few, options.images):
        supernet.correlations(images)
        held.append(peak(options.device))
        print(f"peak MiB after {images} images at once: {held[-1]:.1f}")
    print(f"added by the larger number: {held[1] - held[0]:.1f} MiB")


if __name__ == "__main__":
    main()
