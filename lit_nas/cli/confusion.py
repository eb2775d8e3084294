"""The command that estimates the gradient confusion of a trained network."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from lit_nas.cli.configured import check_json, configured, parser_of_configuration

__all__ = ("confusion",)


def confusion(args: Sequence[str]) -> None:
    """Estimates the gradient confusion of a search or a retraining with the weights of a checkpoint.

    All other arguments are those of `lit-nas fit`: configurations (`-c FILE`), and keys that win over them.
    """
    parser = parser_of_configuration("confusion", confusion.__doc__, "run")
    parser.add_argument("--ckpt_path", required=True, type=Path, help="checkpoint of the run")
    parser.add_argument("--draws", type=int, default=10, help="estimates that are averaged")
    parser.add_argument("--batches", type=int, default=4, help="mini-batches of each of them, compared in pairs")
    parser.add_argument("--seed", type=int, default=0, help="decides which images the mini-batches hold")
    parser.add_argument("--out", type=Path, help="JSON file to write; by default the result is only printed")
    given, rest = parser.parse_known_args(args)
    check_json("--out", given.out)

    from lit_nas.atomic_write import write_text
    from lit_nas.callbacks import confusion_of
    from lit_nas.optim import GradientConfusion
    from lit_nas.record.plain import plain
    from lit_nas.record.recorded_module import read_checkpoint

    estimator = GradientConfusion(given.draws, given.batches, given.seed)
    checkpoint = read_checkpoint(given.ckpt_path)
    cli = configured(given, rest)
    module, data, trainer = cli.model, cli.datamodule, cli.trainer
    module.on_load_checkpoint(checkpoint)
    try:
        module.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise ValueError(
            f"The weights of '{given.ckpt_path}' are not those of the model of the configuration: give the "
            "configuration that its run was started with, config.yaml in its folder."
        ) from error
    trainer.strategy.connect(module)  # the data ask it how they are divided
    module.trainer = data.trainer = trainer
    trainer.datamodule = data  # type: ignore[attr-defined]  # as Lightning does in a fit
    data.prepare_data()
    data.setup("fit")
    trainer.training = True  # so that images are augmented
    module.to(trainer.strategy.root_device)
    found = confusion_of(trainer, module, data.train_dataloader(), estimator, checkpoint["epoch"])
    if given.out is not None:
        content = {"checkpoint": str(given.ckpt_path), "estimator": plain(estimator), **found.plain()}
        write_text(given.out, json.dumps(content, indent=2) + "\n")
    sys.stdout.write(
        f"gradient confusion {found.mean:.6g}, {found.per_mebi:.6g} per 2^20 of the {found.weights:,} weights "
        f"({given.draws} draws of {given.batches} mini-batches)\n"
    )
