"""A tiny search over several processes (gloo, CPU), and its end states."""

import multiprocessing
import os
import socket
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from lit_nas.relaxations import Entmax
from tests.support.edge_searches import EDGE_SEARCHES
from tests.support.tiny import INPUTS, TINY, VARIANTS

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["lit_nas.cli.training", "tests.support.edge_searches"])


def run(name: str, folder: Path, ranks: int, batch_size: int, **trainer: Any) -> list[dict[str, Any]]:
    """Three steps of a method; the end state of each rank.

    Unless it is synchronised, BatchNorm uses its running statistics: batch statistics of half a batch are other ones
    than of a whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        PROCESSES.Process(target=_child, args=(name, folder, ranks, rank, port, batch_size, trainer))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * ranks, (folder / "log0.txt").read_text()[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(ranks)]


def _child(name: str, folder: Path, ranks: int, rank: int, port: int, batch_size: int, arguments: dict) -> None:
    warnings.simplefilter("ignore")
    sys.stdout = sys.stderr = (folder / f"log{rank}.txt").open("w")
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(ranks), "NODE_RANK": "0",
        "LOCAL_RANK": str(rank),
    }  # fmt: skip
    torch.set_num_threads(1)
    from pytorch_lightning import Callback, Trainer, seed_everything

    from lit_nas.data import Augmentation, SyntheticDataModule

    class FrozenNorms(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            module.network.eval()

    seed_everything(3 + rank)  # ranks must agree in spite of this
    module = (TINY | VARIANTS | EDGE_SEARCHES)[name]()
    if arguments.get("sync_batchnorm") and isinstance(module.architecture.relaxation, Entmax):
        # the gradient at a candidate that dies grows with alpha: at 8 it makes 1e-5 out of rounding in float64
        module.architecture.relaxation = Entmax(3.0)
    # images are float32 whatever `precision` says
    module.network.register_forward_pre_hook(
        lambda network, given: (given[0].to(next(network.parameters())), *given[1:])
    )
    if rank == 0 or ranks == 1:
        torch.save(module.state_dict(), folder / "start.pt")
    data = SyntheticDataModule(
        num_images=120, channels=INPUTS.channels, height=INPUTS.height, width=INPUTS.width, classes=INPUTS.classes,
        batch_size=batch_size, augmentation=Augmentation(crop_padding=0, flip=False),
    )  # fmt: skip
    trainer = Trainer(
        accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", max_epochs=1,
        limit_train_batches=3, limit_val_batches=1, default_root_dir=folder / "run", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        use_distributed_sampler=False,
        callbacks=[] if arguments.get("sync_batchnorm") else [FrozenNorms()], **arguments,
    )  # fmt: skip
    trainer.fit(module, data)
    state = {"module": module.state_dict(), "global_step": trainer.global_step}
    state["optimizers"] = [optimizer.state_dict() for optimizer in trainer.optimizers]
    torch.save(state, folder / f"{rank}.pt")
