"""Searches and retrainings of language models that are interrupted end as others do; two processes equal one."""

import pytest
import torch
import yaml

from tests.search.test_text_search import together
from tests.support.resume_job import differences, final_state, run, run_once
from tests.support.tiny_text import DROPOUT, TEXT_METHODS, write_texts

MODELS = {
    **{
        name: {
            "class_path": "RecurrentDARTS",
            "init_args": {key: value for key, value in make().hparams.items() if key != "spec"},
        }
        for name, make in TEXT_METHODS.items()
    },
    "retraining": {
        "class_path": "LanguageRetrainModule",
        "init_args": {
            "genotype": "DARTS_RNN_V2", "width": 6, "dropout": vars(DROPOUT),
            # averages from the second epoch on
            "optim": {"non_monotone": 0, "weights": {"class_path": "AveragedSGD", "init_args": {"lr": 60.0}}},
        },
    },
}  # fmt: skip
UNDROPPED = {"words": 0.0, "inputs": 0.0, "tokens": 0.0, "states": 0.0, "outputs": 0.0}


def config(folder, name, data=(), model=(), **trainer):
    text = {"root": str(write_texts(folder / "text")), "batch_size": 3, "eval_batch_size": 4, "window": 9}
    if name == "retraining":
        text |= {"jitter": 3.0, "shortest": 2, "longest": 4}
    chosen = {**MODELS[name], "init_args": {**MODELS[name]["init_args"], **dict(model)}}
    content = {
        "seed_everything": 5,
        "model": chosen,
        "data": {"class_path": "TextFolderDataModule", "init_args": {**text, **dict(data)}},
        "trainer": {
            "accelerator": "cpu", "max_epochs": 4, "limit_train_batches": 4, "log_every_n_steps": 1,
            "enable_progress_bar": False, "enable_model_summary": False, "deterministic": True,
            "callbacks": [{"class_path": "SaveCheckpoints", "init_args": {"every_n_steps": 2}}], **trainer,
        },
    }  # fmt: skip
    path = folder / "in.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Folder of the uninterrupted run of each model, made when it is first asked for."""

    def start(name, folder, to):
        return run(["fit", "-c", config(folder, name), "--trainer.default_root_dir", str(to)]) == 0

    return run_once(tmp_path_factory, start)


CASES = [  # when, the exit status, and the steps that the continued process has to do
    ("SIGKILL", 11, -9, 6),  # within an epoch, of a retraining that averages
    ("SIGTERM", 5, 143, 10),
    ("SIGTERM", 7, 143, 8),  # in the last step of an epoch, before its validation
    ("SIGKILL while writing", 4, -9, 8),
]


@pytest.mark.parametrize(
    ("name", "bomb", "at", "status", "rest"),
    [
        pytest.param(
            name,
            *case,
            marks=() if case in CASES[:1] and name != "RecurrentDARTS-first-order" else pytest.mark.slow,
            id=f"{name}-{case[0]}-{case[1]}",
        )
        for name in MODELS
        for case in CASES
    ],
)
def test_a_run_continues_bit_identically(name, bomb, at, status, rest, whole, tmp_path):
    arguments = ["fit", "-c", config(tmp_path, name), "--trainer.default_root_dir", str(tmp_path / "run")]
    assert run(arguments, bomb, at) == status
    assert run([*arguments, "--ckpt_path", "last", "--data.root", str(tmp_path / "text")]) == 0
    assert int((tmp_path / "run" / "steps.txt").read_text()) == rest
    expected, found = final_state(whole(name)), final_state(tmp_path / "run")
    for state in (expected, found):  # where the texts lie is another folder
        state["checkpoint"]["lit_nas"]["run"]["data"]["init_args"].pop("root")
        state["checkpoint"].pop("datamodule_hyper_parameters", None)
    assert differences(expected, found) == []
    record = expected["checkpoint"]["lit_nas"]
    roles = {"weights"} if name == "retraining" else {"weights", "arch"}
    assert set(record["rank_state"][0]) == roles
    if name == "retraining":
        assert record["validation_losses"]
        assert expected["checkpoint"]["optimizer_states"][0]["param_groups"][0]["averaging"]
        assert len(record["validation_losses"]) < 4


@pytest.mark.slow
def test_a_validation_within_an_epoch_is_not_left_out_where_a_run_continues(tmp_path):
    """Averaging begins by the validations, all of which must be made."""
    states = []
    for name, bombs in (("whole", [()]), ("killed", [("SIGKILL", 3), ()])):
        (tmp_path / name).mkdir()
        arguments = ["fit", "-c", config(tmp_path / name, "retraining", val_check_interval=2, max_epochs=2)]
        arguments += ["--trainer.default_root_dir", str(tmp_path / name / "run"), "--ckpt_path", "last"]
        assert [run(arguments, *bomb) for bomb in bombs][-1] == 0
        states.append(final_state(tmp_path / name / "run")["checkpoint"]["lit_nas"]["validation_losses"])
    assert states[0] == states[1]
    assert states[0]


@pytest.mark.parametrize(
    "name", ["retraining", *(pytest.param(name, marks=pytest.mark.slow) for name in MODELS if name != "retraining")]
)
def test_two_processes_equal_one(name, tmp_path):
    """Without masks, which each process draws for its own sequences; BatchNorm is synchronised."""
    ranks = [
        {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0", "WORLD_SIZE": "2", "NODE_RANK": "0", "LOCAL_RANK": str(rank)}
        for rank in range(2)
    ]
    searches = name != "retraining"
    same = {"model": {"dropout": UNDROPPED}, "precision": "64-true", "max_epochs": 1 if searches else 3}
    # the first gradients of an architecture are so small that Adam divides their rounding by its 1e-8
    close = {"rtol": 1e-5, "atol": 1e-6} if searches else {"rtol": 1e-8, "atol": 1e-10}
    (tmp_path / "two").mkdir()
    (tmp_path / "one").mkdir()
    two = config(tmp_path / "two", name, devices=2, strategy="ddp", sync_batchnorm=searches, **same)
    one = config(tmp_path / "one", name, {"batch_size": 6, "eval_batch_size": 8}, **same)
    folders = [["--trainer.default_root_dir", str(tmp_path / side / "run")] for side in ("two", "one")]
    assert together(["fit", "-c", two, *folders[0]], ranks) == [0, 0]
    assert run(["fit", "-c", one, *folders[1]]) == 0
    found, expected = (final_state(tmp_path / side / "run")["checkpoint"] for side in ("two", "one"))
    for key, value in expected["state_dict"].items():
        if not key.startswith(("losses", "scores", "train_loss")):  # metrics hold the shard of their rank
            torch.testing.assert_close(found["state_dict"][key], value, msg=key, **close)
    states = [rank["weights"] for rank in found["lit_nas"]["rank_state"]]
    torch.testing.assert_close(torch.cat(states), expected["lit_nas"]["rank_state"][0]["weights"], **close)
    assert not torch.equal(*states)
