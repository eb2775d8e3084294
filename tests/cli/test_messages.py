"""Messages of the parser and of Lightning, and the sentences that lit-nas says instead."""

import re

import pytest
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lit_nas.cli.explain import explain, explained
from lit_nas.cli.parser_messages import PARSER, translate_parser
from lit_nas.cli.trainer_messages import TRAINER, check_trainer_keys, translate_trainer
from lit_nas.spaces import DartsSpace

IN_ARCH = """\
Parser key "model":
  Does not validate against any of the Union subtypes
  Errors:
    - Problem with given class_path 'lit_nas.methods.DARTS':
        Parser key "optim.arch":
          Type Callable expects a function or a class: LEAF. Got value: Namespace(class_path='lit_nas.optim.DartsAdam')
    - Expected a <class 'NoneType'>
  Given value: NestedArg(key='optim.arch.x', val='1')"""
IN_SPACE = """\
Parser key "model":
  Errors:
    - Problem with given class_path 'lit_nas.methods.DARTS':
        Parser key "space":
          LEAF
  Given value: NestedArg(key='space', val='1')"""


@pytest.mark.parametrize("pattern", PARSER, ids=lambda pattern: pattern.sign[:40])
def test_each_message_of_the_parser_is_translated(pattern):
    assert re.search(pattern.sign, pattern.example)
    earlier = [other for other in PARSER[: PARSER.index(pattern)] if re.search(other.sign, pattern.example)]
    assert not earlier, "an earlier pattern takes the example"
    sentence = translate_parser(IN_SPACE.replace("LEAF", pattern.example))
    assert sentence.endswith(".")
    parser_words = ("Namespace", "class_path '", "Union", "Parser key", "<class", "NestedArg")
    assert not [word for word in parser_words if word in sentence]


@pytest.mark.parametrize("pattern", TRAINER, ids=lambda pattern: pattern.sign[:40])
def test_each_message_of_lightning_is_translated(pattern):
    given = {"accelerator": "gpu", "devices": "0", "strategy": "foo", "profiler": "foo"}
    (first, *_) = [other for other in TRAINER if re.search(other.sign, pattern.example)]
    assert first is pattern
    sentence = translate_trainer(pattern.example, given)
    assert sentence.endswith(".")
    assert sentence != pattern.example


def test_a_part_lists_its_own_keys():
    sentence = translate_parser(IN_ARCH.replace("LEAF", "Option 'lrr' is not accepted"))
    assert sentence == (
        "model.optim.arch.lrr is unknown (did you mean `lr`?). The keys of DartsAdam are: lr, betas, eps, weight_decay."
    )


def test_an_unknown_message_keeps_its_words():
    message = (
        'Parser key "data":\n  Does not validate against any of the Union subtypes\n  Something new\n  Given value: 1'
    )
    assert translate_parser(message) == 'Parser key "data": Something new'
    with pytest.raises(ValueError, match=r"^trainer.num_nodes and `other` disagree$"), explained():
        raise MisconfigurationException("`num_nodes` and `other` disagree")


def test_what_is_not_of_the_user_passes_as_it_is():
    for error in (RuntimeError("bug"), ValueError("bug"), KeyError("bug"), TypeError("bug")):
        assert explain(error, {}) is error
        with pytest.raises(type(error), match="bug"), explained():
            raise error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"val_check_interval": 0}, "trainer.val_check_interval is 0, but must be positive"),
        ({"log_every_n_steps": -1}, "trainer.log_every_n_steps is -1, but must be at least 0"),
        ({"check_val_every_n_epoch": 0}, "trainer.check_val_every_n_epoch is 0"),
        ({"num_nodes": 0}, "trainer.num_nodes is 0"),
        ({"max_epochs": -2}, "trainer.max_epochs is -2, but must be at least -1"),
        ({"limit_train_batches": -1}, "trainer.limit_train_batches is -1, but must be at least 0"),
        ({"limit_val_batches": 1.5}, "must be a part between 0.0 and 1.0, or a whole number"),
    ],
)
def test_values_that_lightning_would_fail_on_later(given, message):
    with pytest.raises(ValueError, match=message):
        check_trainer_keys(given)


def test_good_values_pass(tmp_path):
    check_trainer_keys(
        {"val_check_interval": 0.5, "limit_train_batches": 1.0, "limit_val_batches": 0, "precision": None}
    )
    check_trainer_keys({"limit_train_batches": 2.0})  # as the parser may read `2`
    check_trainer_keys({"max_epochs": -1, "default_root_dir": str(tmp_path / "a" / "b"), "precision": "bf16-mixed"})
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"trainer.default_root_dir is '.*', but '.*file' is a file"):
        check_trainer_keys({"default_root_dir": str(tmp_path / "file" / "run")})


def test_a_number_in_the_place_of_a_schedule():
    sentence = translate_parser(
        IN_SPACE.replace('"space"', '"optim.perturbation.epsilon"')
        .replace(
            "'lit_nas.methods.DARTS':\n        Parser",
            "'lit_nas.methods.DARTS':\n        Parser key \"optim.perturbation\":\n        given class_path "
            "'lit_nas.RandomSmoothing':\n        Parser",
        )
        .replace("LEAF", "Unexpected import path format: 0.3")
        .replace('"optim.perturbation.epsilon"', '"epsilon"')
    )
    assert sentence == (
        "model.optim.perturbation.epsilon is 0.3, but must be a schedule: for a number that does not change write "
        "{class_path: Constant, init_args: {value: 0.3}}."
    )


class OwnPart:
    """Stands for a class that a user wrote."""

    def fail(self):
        return self.nothing

    def refuse(self):
        raise ValueError("there must be a width")


def built_as_by_the_parser(method):
    try:
        getattr(OwnPart(), method)()
    except Exception as error:
        raise ValueError(f"Problem with given class_path 'lit_nas.DARTS': {error}") from error


@pytest.mark.parametrize(
    ("method", "message"),
    [("fail", "AttributeError: 'OwnPart' object has no attribute 'nothing'"), ("refuse", "there must be a width")],
)
def test_an_error_within_a_class_of_the_user_names_it(method, message):
    sentence = rf"^{__name__}\.OwnPart could not be used: {message}$"
    with pytest.raises(ValueError, match=sentence), explained(building=True):
        built_as_by_the_parser(method)


def test_what_lit_nas_refuses_within_a_class_of_the_user_stays_its_own_sentence():
    class OwnSpace(DartsSpace):
        pass

    with pytest.raises(ValueError, match=r"^space\.init_channels"), explained(building=True):
        OwnSpace(init_channels=0)
