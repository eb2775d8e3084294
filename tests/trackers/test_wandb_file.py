"""The files of Weights & Biases are read as another reader reads them, and up to where a kill has cut them."""

import pytest

from lit_nas.trackers.wandb_file import history_rows, read_records
from tests.support.wandb_runs import offline, records, wait_for


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    import wandb

    folder = tmp_path_factory.mktemp("wandb")
    with pytest.MonkeyPatch.context() as patch:
        offline(patch, folder)
        run = wandb.init(project="test", dir=folder, id="abc")
        for step in range(40):  # more than one block, and records across blocks
            run.log({"trainer/global_step": step, "x/y": step / 2, **{f"filler/{k}": float(k) for k in range(40)}})
        run.finish()
    (path,) = folder.glob("wandb/offline-run-*/run-abc.wandb")
    wait_for(path)
    return path


def test_records_are_those_of_another_reader(path):
    assert path.stat().st_size > 2 * 2**15
    assert list(read_records(path)) == records(path)
    rows = list(history_rows(path))
    assert [(row["trainer/global_step"], row["x/y"]) for row in rows] == [(step, step / 2) for step in range(40)]


@pytest.mark.parametrize("kept", [0, 3, 7, 5000, 2**15 + 3, 50_001])
def test_a_file_that_was_cut_gives_what_is_whole(kept, path, tmp_path):
    cut = tmp_path / "cut.wandb"
    cut.write_bytes(path.read_bytes()[:kept])
    whole, found = list(read_records(path)), list(read_records(cut))
    assert found == whole[: len(found)]
    assert bool(found) == (kept >= 5000)


def test_a_file_with_a_hole_ends_there(path, tmp_path):
    content = bytearray(path.read_bytes())
    content[20_000:24_000] = bytes(4000)
    (tmp_path / "hole.wandb").write_bytes(content)
    found = list(read_records(tmp_path / "hole.wandb"))
    assert found == list(read_records(path))[: len(found)]
