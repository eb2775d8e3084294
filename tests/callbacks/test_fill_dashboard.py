"""What each tracker holds of a search, read back from its files."""

import base64
import csv
import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from lit_nas.callbacks import FillDashboard
from lit_nas.callbacks.alpha_history import AlphaHistory
from lit_nas.cli import main
from tests.cli.test_commands import TINY_SEARCH, folder
from tests.support.wandb_runs import offline, records, settings, summary, wait_for

PNG = b"\x89PNG\r\n\x1a\n"
EPOCHS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A search of three epochs with all trackers; the folder above its run folder."""
    import wandb

    top = tmp_path_factory.mktemp("dashboard")
    kinds = {
        "lit_nas.trackers.ResumableWandbLogger": {"project": "test", "save_dir": str(top), "offline": True},
        "lit_nas.trackers.ResumableTensorBoardLogger": {"save_dir": str(top), "name": "tb"},
        "CSVLogger": {"save_dir": str(top), "name": "csv", "version": ""},
    }
    with pytest.MonkeyPatch.context() as patch:
        offline(patch, top)
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        if _has_mlflow():
            kinds["lit_nas.trackers.ResumableMLFlowLogger"] = {"tracking_uri": f"file:{top}/mlruns"}
        loggers = json.dumps([{"class_path": kind, "init_args": given} for kind, given in kinds.items()])
        words = [
            *TINY_SEARCH,
            "--trainer.max_epochs",
            str(EPOCHS),
            "--trainer.log_every_n_steps",
            "1",
            "--trainer.logger",
            loggers,
        ]
        try:
            assert main(["fit", *words, *folder(top / "run")]) == 0
        finally:
            wandb.finish()
        (path,) = top.glob("wandb/offline-run-*/*.wandb")
        wait_for(path)
    return top


def _has_mlflow():
    try:
        import mlflow  # noqa: F401
    except ImportError:
        return False
    return True


pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def logged(run):
    (path,) = run.glob("wandb/offline-run-*/*.wandb")
    return records(path)


@pytest.fixture(scope="module")
def alphas(run):
    """(cell, edge) -> operation -> weights, as `alphas.csv` has them."""
    found = {}
    with (run / "run" / "alphas.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            panel = found.setdefault((row["cell"], f"{row['source']}-{row['target']}"), {})
            panel.setdefault(row["operation"], []).append(float(row["probability"]))
    return found


def rows(logged):
    """Top-level name -> what each row says of it."""
    found = {}
    for record in logged:
        row = {}
        for item in record.history.item:
            name, *inner = item.nested_key or [item.key]
            row.setdefault(name, {})["/".join(inner)] = json.loads(item.value_json)
        for name, value in row.items():
            found.setdefault(name, []).append({**value, "at": row.get("epoch", {}).get("")})
    return found


def test_wandb_has_one_chart_for_each_edge_with_a_line_for_each_operation(run, logged, alphas):
    (media,) = run.glob("wandb/offline-run-*/files")
    found = rows(logged)
    assert len(alphas) == 10
    for (cell, edge), lines in alphas.items():
        tables = found[f"alphas/{cell}/{edge}_table"]
        assert [table["at"] for table in tables] == [0, 1, 2]
        table = json.loads((media / tables[-1]["path"]).read_text())
        assert table["columns"] == ["step", "lineKey", "lineVal"]
        drawn = {}
        for step, key, value in table["data"]:
            drawn.setdefault(key, []).append(value)
            assert step == len(drawn[key]) - 1  # epochs
        assert drawn == lines  # free of noise, and to the last digit
    specs = {
        item.nested_key[2]: json.loads(item.value_json)
        for record in logged
        for item in record.config.update
        if list(item.nested_key[:2]) == ["_wandb", "visualize"]
    }
    assert specs["alphas/normal/0-2"]["panel_config"]["panelDefId"] == "wandb/lineseries/v0"


def test_wandb_has_pictures_of_cells_and_heat_maps_for_each_epoch(run, logged):
    (media,) = run.glob("wandb/offline-run-*/files")
    found = rows(logged)
    for name in ("heat_map/normal", "heat_map/reduce"):
        assert [each["at"] for each in found[name]] == list(range(EPOCHS))
        for each in found[name]:
            assert each["_type"] == "image-file"
            assert (media / each["path"]).read_bytes().startswith(PNG)
    genotypes = [json.loads(path.read_text())["cells"] for path in sorted((run / "run/genotypes").glob("*.json"))]
    new = [k for k in range(EPOCHS) if k == 0 or genotypes[k] != genotypes[k - 1]]
    assert [each["at"] for each in found["cell"]] == new  # where the cell has changed
    assert (media / found["cell"][-1]["path"]).read_bytes().startswith(PNG)


def test_artifacts_of_wandb_are_the_files(run, logged):
    versions = {}
    for record in logged:
        artifact = record.artifact
        if artifact.type in ("genotype", "model"):
            (entry,) = artifact.manifest.contents
            versions.setdefault(artifact.type, []).append((sorted(artifact.aliases), entry, artifact.name))
    identity = (run / "run" / "wandb_id").read_text()
    for kind, path, alias in (("genotype", "genotype.json", "final"), ("model", "checkpoints/last.ckpt", "last")):
        aliases, entry, name = versions[kind][-1]
        content = (run / "run" / path).read_bytes()
        assert aliases == sorted([alias, "latest"])
        assert name == f"{'checkpoint' if kind == 'model' else kind}-{identity}"
        assert base64.b64decode(entry.digest) == hashlib.md5(content).digest()
        assert Path(entry.local_path).read_bytes() == content
    first = versions["genotype"][0]
    assert first[0] == ["epoch-0000", "latest"]
    assert Path(first[1].local_path).read_text() == (run / "run/genotypes/epoch-0000.json").read_text()


def test_wandb_knows_run_axes_configuration_and_summary(run, logged):
    (described,) = (record.run for record in logged if record.WhichOneof("record_type") == "run")
    assert (described.display_name, described.run_group, described.job_type) == ("run", "", "search")
    assert list(described.tags) == ["DARTS", "DartsSpace", "SyntheticDataModule"]
    axes = {record.metric.name: record.metric.step_metric for record in logged if record.metric.name}
    names = set(rows(logged))
    of_epochs = ("alpha/", "entropy/", "margin/", "skips/", "none/", "sparsity/", "cost/", "lr/", "val/", "heat_map/")
    for name in names:
        if name.startswith(of_epochs) or name in ("weights/loss", "arch/loss", "cell"):
            assert axes[name] == "epoch", name
        elif name.endswith("loss_step"):
            assert name not in axes  # by the step, as all others
    assert {"weights/loss_step", "none/normal", "skips/reduce", "margin/normal"} <= names
    (others,) = (record.metric for record in logged if record.metric.glob_name == "*")
    assert others.step_metric == "trainer/global_step"
    resolved = yaml.safe_load((run / "run" / "config.yaml").read_text())
    assert settings(logged)["model"] == resolved["model"]
    values = summary(logged)
    told = {"method": "DARTS", "space": "DartsSpace", "data": "SyntheticDataModule", "seed": 0, "epochs": EPOCHS}
    assert {name: values[name] for name in told} == told
    assert values["cost/seconds"] == json.loads((run / "run" / "cost.json").read_text())["seconds"]
    assert {"val/accuracy", "entropy/normal", "skip_connections", "genotype", "cost/device_hours"} <= set(values)
    assert values["genotype"].startswith("normal 2 = ")


def test_tensorboard_shows_the_same(run, alphas):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

    events = EventAccumulator(str(run / "tb" / _version(run)), {"images": 0, "tensors": 0}).Reload()
    for name in ("heat_map/normal", "heat_map/reduce"):
        images = events.Images(name)
        assert [image.step for image in images] == list(range(EPOCHS))
        assert images[0].encoded_image_string.startswith(PNG)
    assert events.Images("cell")
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {category.title: {chart.title: chart for chart in category.chart} for category in layout.category}
    assert {(name.removeprefix("alphas/"), edge) for name in charts for edge in charts[name]} == set(alphas)
    scalars = events.Tags()["scalars"]
    for (cell, edge), lines in alphas.items():
        shown = list(charts[f"alphas/{cell}"][edge].multiline.tag)
        assert shown == [f"^alpha/{cell}/{edge}/{operation}$".replace("-", r"\-") for operation in lines]
        assert all(f"alpha/{cell}/{edge}/{operation}" in scalars for operation in lines)
    text = events.Tensors("genotype/final/text_summary")[-1].tensor_proto.string_val[0].decode()
    assert (run / "run" / "genotype.json").read_text().strip() in text
    assert "| method | DARTS |" in events.Tensors("summary/text_summary")[-1].tensor_proto.string_val[0].decode()


def _version(run):
    (path,) = (run / "tb").iterdir() if not (run / "tb" / "run").exists() else [run / "tb" / "run"]
    return path.name


def test_csv_has_pictures_and_a_summary_beside_it(run):
    for name in (
        "alphas/normal",
        "alphas/reduce",
        "cell/epoch-0000",
        *(f"heat_map/normal/epoch-000{k}" for k in "012"),
    ):
        assert (run / "csv" / f"{name}.png").read_bytes().startswith(PNG), name
    assert json.loads((run / "csv" / "summary.json").read_text())["method"] == "DARTS"


def test_mlflow_has_images_artifacts_and_tags(run):
    pytest.importorskip("mlflow")
    (artifacts,) = (run / "mlruns").glob("*/*/artifacts")
    assert (artifacts / "genotype/final/genotype.json").read_bytes() == (run / "run/genotype.json").read_bytes()
    assert (artifacts / "checkpoint/last/last.ckpt").read_bytes() == (run / "run/checkpoints/last.ckpt").read_bytes()
    assert (artifacts / "charts/alphas_normal.png").read_bytes().startswith(PNG)
    images = [path.name for path in (artifacts / "images").iterdir() if path.suffix == ".png"]
    for name in ("normal", "reduce"):
        steps = [re.search(r"step\D(\d+)", image) for image in images if re.match(rf"heat_map\W{name}\W", image)]
        assert sorted(int(found[1]) for found in steps) == list(range(EPOCHS))
    tags = artifacts.parent / "tags"
    assert (tags / "method").read_text() == "DARTS"
    assert (tags / "job_type").read_text() == "search"
    assert (run / "run" / "mlflow_run_id").read_text() == artifacts.parent.name


def test_nothing_is_drawn_for_the_run_folder_alone(tmp_path, monkeypatch):
    def refuse(*args):
        raise AssertionError("drawn")

    monkeypatch.setattr("lit_nas.report.draw_alphas.draw_heat_map", refuse)
    monkeypatch.setattr("lit_nas.report.draw_alphas.draw_panels", refuse)
    assert main(["fit", *TINY_SEARCH, *folder(tmp_path)]) == 0
    assert json.loads((tmp_path / "summary.json").read_text())["data"] == "SyntheticDataModule"


def test_the_history_begins_with_the_epochs_that_are_behind_a_run(tmp_path):
    path = tmp_path / "alphas.csv"
    path.write_text(
        "epoch,cell,source,target,operation,probability\n"
        "0,normal,0,2,none,0.5\n0,normal,0,2,skip,0.5\n1,normal,0,2,none,0.25\n1,normal,0,2,skip,0.75\n"
    )
    assert AlphaHistory.read(path, 2).chart("normal").panels == {"0-2": {"none": [0.5, 0.25], "skip": [0.5, 0.75]}}
    assert AlphaHistory.read(path, 1).epochs == [0]
    assert AlphaHistory.read(path, 0).epochs == AlphaHistory.read(tmp_path / "no.csv", 3).epochs == []


def test_which_cells_were_shown_last_is_in_the_checkpoint():
    callback, other = FillDashboard(), FillDashboard()
    callback._shown = {"normal": {}}
    other.load_state_dict(callback.state_dict())
    assert other._shown == {"normal": {}}
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, not 0"):
        FillDashboard(every_n_epochs=0)
