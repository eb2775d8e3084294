"""What callbacks log and write, against numbers worked out by hand."""

import csv
import json
import math
import time

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from lit_nas.callbacks import LogAlphas, MeasureCost, WriteGenotype
from lit_nas.callbacks.health_figures import entropy, health_figures, margin
from lit_nas.genotype import load_genotype
from lit_nas.methods import DARTS
from lit_nas.spaces import DartsSpace
from tests.methods.test_contract import loader
from tests.support.tiny import INPUTS, TINY


def search(folder, epochs=2, logger=False, callbacks=(), name="DARTS-first-order", **arguments):
    module = TINY[name]()
    callbacks = list(callbacks) or [LogAlphas(), WriteGenotype(), MeasureCost()]
    trainer = Trainer(
        accelerator="cpu", max_epochs=epochs, default_root_dir=folder, logger=logger, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
        **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(2))
    return module, trainer


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_entropy_and_margin():
    table = torch.tensor([[0.25, 0.25, 0.25, 0.25], [1.0, 0.0, 0.0, 0.0], [0.5, 0.3, 0.2, 0.0]])
    expected = [math.log(4), 0.0, -(0.5 * math.log(0.5) + 0.3 * math.log(0.3) + 0.2 * math.log(0.2))]
    assert entropy(table).tolist() == pytest.approx(expected, abs=1e-6)
    assert margin(table).tolist() == pytest.approx([0.0, 1.0, 0.2])
    assert margin(torch.ones(2, 1)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("method", ["DARTS-first-order", "DARTS-staged"])
def test_alphas_csv_holds_every_probability_of_every_epoch(method, tmp_path):
    module, _ = search(tmp_path, name=method)
    table = rows(tmp_path / "alphas.csv")
    assert list(table[0]) == ["epoch", "cell", "source", "target", "operation", "probability"]
    cells = module.architecture.space.cells
    per_epoch = sum(len(columns) for cell in cells.values() for columns in cell.allowed)  # those that were built
    assert per_epoch == {"DARTS-first-order": 80, "DARTS-staged": 53}[method]
    assert len(table) == 2 * per_epoch
    last = {(r["cell"], int(r["source"]), int(r["target"]), r["operation"]): float(r["probability"]) for r in table}
    for name, probabilities in module.architecture.probabilities().items():
        for edge, (source, target) in enumerate(cells[name].edges):
            for o in cells[name].allowed[edge]:
                assert last[name, source, target, cells[name].operations[o]] == float(probabilities[edge, o])
    for epoch in ("0", "1"):
        sums = {}
        for r in table:
            if r["epoch"] == epoch:
                key = r["cell"], r["source"], r["target"]
                sums[key] = sums.get(key, 0.0) + float(r["probability"])
        assert all(value == pytest.approx(1.0) for value in sums.values())


@pytest.mark.parametrize("kind", [CSVLogger, TensorBoardLogger])
def test_any_logger_gets_the_scalars(kind, tmp_path):
    logger = kind(tmp_path, name="log")
    search(tmp_path, epochs=1, logger=logger)
    if kind is CSVLogger:
        with open(f"{logger.log_dir}/metrics.csv", newline="") as file:
            logged = {name: float(value) for row in csv.DictReader(file) for name, value in row.items() if value}
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(logger.log_dir).Reload()
        logged = {name: events.Scalars(name)[-1].value for name in events.Tags()["scalars"]}
    for name in (
        "alpha/normal/0-2/skip_connect", "margin/normal", "skips/normal", "cost/seconds", "weights/loss", "arch/loss",
        "weights/loss_step", "arch/loss_step",
    ):  # fmt: skip
        assert name in logged, name
    assert logged["entropy/normal"] == pytest.approx(math.log(8), abs=1e-3)


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from pytorch_lightning.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    try:
        search(tmp_path, epochs=1, logger=WandbLogger(offline=True, save_dir=tmp_path, project="test", id="abc"))
    finally:
        wandb.finish()
    (file,) = tmp_path.glob("wandb/offline-run-*/run-abc.wandb")
    deadline = time.monotonic() + 30
    while b"entropy/reduce" not in (content := file.read_bytes()) and time.monotonic() < deadline:
        time.sleep(0.5)  # a busy machine lets the tracker's own process finish later
    assert b"alpha/normal/0-2/skip_connect" in content
    assert b"entropy/reduce" in content


def test_skips_are_those_of_the_derived_cell(tmp_path):
    module = TINY["DARTS-first-order"]()
    module.architecture.logits["normal"].data[:, 3] = 5.0
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, default_root_dir=tmp_path, logger=False, callbacks=[LogAlphas()],
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(module, loader(1))
    assert trainer.callback_metrics["skips/normal"] == 4.0  # two nodes with two edges each
    assert trainer.callback_metrics["skips/reduce"] < 4.0


def test_resumed_alphas_replace_the_epochs_that_are_trained_again(tmp_path):
    callback = LogAlphas()
    (tmp_path / "alphas.csv").write_text(
        "epoch,cell,source,target,operation,probability\n0,normal,0,2,none,0.5\n1,normal,0,2,none,0.25\n"
    )
    (tmp_path / "edge_weights.csv").write_text("epoch,cell,source,target,weight\n0,normal,0,2,0.5\n1,normal,0,2,0.4\n")

    class FakeTrainer:
        is_global_zero, fast_dev_run, sanity_checking, default_root_dir, current_epoch = True, False, False, tmp_path, 1

    callback.on_train_start(FakeTrainer(), None)
    assert callback._rows == {
        "alphas.csv": [("0", "normal", "0", "2", "none", "0.5")],
        "edge_weights.csv": [("0", "normal", "0", "2", "0.5")],
    }
    FakeTrainer.current_epoch = 0
    callback.on_train_start(FakeTrainer(), None)
    assert callback._rows == {"alphas.csv": [], "edge_weights.csv": []}


def test_genotypes_of_all_epochs_and_the_last(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PL_GLOBAL_SEED", "7")
    module, _ = search(tmp_path)
    names = sorted(path.name for path in (tmp_path / "genotypes").iterdir())
    assert names == ["epoch-0000.json", "epoch-0000.svg", "epoch-0001.json", "epoch-0001.svg"]
    last = load_genotype(tmp_path / "genotype.json")
    assert last.cells == module.derive().cells
    assert last.meta["method"] == "DARTS"
    assert last.meta["epoch"] == 1
    assert last.meta["seed"] == 7
    assert last.meta["validation_accuracy"] is None  # there were no validation data
    assert set(last.meta) >= {"rule", "commit"}
    assert (tmp_path / "genotype.svg").read_text().lstrip().startswith("<?xml")
    printed = capsys.readouterr().out
    for edge in last.cells["normal"].edges:
        assert edge.operation in printed


def test_unknown_picture_is_refused():
    with pytest.raises(ValueError, match=r"svg, png or null, not 'gif'"):
        WriteGenotype("gif")


def test_cost_counts_over_interruptions(tmp_path):
    callback = MeasureCost()
    callback.load_state_dict({"seconds": 1000.0})
    search(tmp_path, epochs=1, callbacks=[callback])
    cost = json.loads((tmp_path / "cost.json").read_text())
    assert 1000.0 < cost["seconds"] < 1100.0
    assert cost["device_hours"] == pytest.approx(cost["seconds"] / 3600)
    assert cost["peak_memory_gib"] > 0.05
    assert callback.state_dict()["seconds"] == pytest.approx(cost["seconds"], abs=1.0)


def test_a_dry_run_writes_nothing(tmp_path):
    search(tmp_path, epochs=1, fast_dev_run=True)
    assert list(tmp_path.iterdir()) == []


def test_health_figures_leave_out_edges_without_candidates():
    edges = [["none", "sep_conv_3x3"], ["skip_connect"], ["sep_conv_3x3", "max_pool_3x3"], [], ["sep_conv_5x5"]]
    module = DARTS(INPUTS, DartsSpace(init_channels=4, num_cells=3, nodes=2, candidates={"normal": edges}))
    with torch.no_grad():
        for logits in module.architecture.parameters():
            logits.zero_()
    found = health_figures(module)
    assert found["entropy/normal"] == pytest.approx(2 * math.log(2) / 4)  # four edges, two of them decided
    assert found["margin/normal"] == pytest.approx(2 / 4)
    assert found["sparsity/normal"] == 0


def test_health_figures_of_known_weights():
    module = TINY["DARTS-first-order"]()
    logits, cell = module.architecture.logits["normal"].data, module.architecture.space.cells["normal"]
    logits.zero_()
    assert health_figures(module)["entropy/normal"] == pytest.approx(math.log(len(cell.operations)))
    assert health_figures(module)["margin/normal"] == pytest.approx(0.0)
    logits[:2, cell.operations.index("none")] = 50.0
    logits[2, cell.operations.index("skip_connect")] = 50.0
    found = health_figures(module)
    assert found["none/normal"] == 2.0
    assert found["margin/normal"] == pytest.approx(3 / len(cell.edges))
    assert (found["sparsity/normal"], "temperature" in found) == (0.0, False)
    keep = torch.ones_like(logits, dtype=torch.bool)
    keep[0, :4] = False
    module.architecture.prune("normal", keep)
    assert health_figures(module)["sparsity/normal"] == pytest.approx(4 / logits.numel())
    assert health_figures(TINY["GDAS-single-level"]())["temperature"] == 2.0
