"""Values of another type than a part of a job states are answered in one sentence that names the key."""

import pytest

from lit_nas.cli.parts import chosen
from lit_nas.jobs import Executor, Job, LeftCandidates, Processes, SearchThenRetrain, StagedSearch, WinningGroup

STAGES = [{}, {}]


def made(name, key="job", **arguments):
    base, default = (Job, SearchThenRetrain) if key == "job" else (Executor, Processes)
    return chosen([{key: named(name, **arguments)}], key, base, default, {})


def named(name, **arguments):
    return {"class_path": name, "init_args": arguments}


def by(skips=2, **arguments):
    return named("WinningGroup", skips=skips, **arguments)


CLUSTERED = {"stages": STAGES, "supernet": {"model.space.operations": "S1"}}


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("AlphaCorrelation", {"genotype": 5, "candidates": "a"}, "job.genotype must be a text, not 5."),
        (
            "AlphaCorrelation",
            {"genotype": "a", "candidates": 5},
            "job.candidates must be a text or a list of texts, not 5.",
        ),
        ("AlphaCorrelation", {"seeds": ["0"]}, "job.seeds must be a list of whole numbers, not ['0']."),
        (
            "AlphaCorrelation",
            {"genotype": "a", "candidates": "b", "seeds": [-1]},
            "job.seeds must not be negative, but is [-1].",
        ),
        ("ClusteredSearch", {**CLUSTERED, "skips": "two"}, "job.skips must be a whole number, not 'two'."),
        ("ClusteredSearch", {**CLUSTERED, "skips": True}, "job.skips must be a whole number, not True."),
        ("ClusteredSearch", {**CLUSTERED, "images": "x"}, "job.images must be a whole number, not 'x'."),
        ("ClusteredSearch", {**CLUSTERED, "images": None}, "job.images must be a whole number, not None."),
        (
            "ClusteredSearch",
            {**CLUSTERED, "clustering": {"threshold": "a"}},
            "job.clustering.threshold must be a number or null, not 'a'.",
        ),
        (
            "ClusteredSearch",
            {**CLUSTERED, "correlation": {"exclude": "skip_connect"}},
            "job.correlation.exclude must be a list of texts, not 'skip_connect'.",
        ),
        (
            "ClusteredSearch",
            {**CLUSTERED, "correlation": {"edges": "some"}},
            "job.correlation.edges must be ends or all, not 'some'.",
        ),
        (
            "ClusteredSearch",
            {**CLUSTERED, "correlation": "features"},
            "job.correlation must be a mapping of keys of OperatorCorrelation, not 'features'.",
        ),
        (
            "ClusteredSearch",
            {**CLUSTERED, "clustering": {"thresholt": 0.3}},
            "job.clustering.thresholt is unknown (did you mean `threshold`?). Known are threshold, count.",
        ),
        ("DepthMatch", {"candidates": 5}, "job.candidates must be a list, not 5."),
        ("DepthMatch", {"tolerance": "a"}, "job.tolerance must be a number or null, not 'a'."),
        ("DepthMatch", {"estimator": {"draws": "x"}}, "job.estimator.draws must be a whole number, not 'x'."),
        (
            "StagedSearch",
            {"stages": STAGES, "hands_over": by("two")},
            "job.hands_over.skips must be a whole number, not 'two'.",
        ),
        (
            "StagedSearch",
            {"stages": STAGES, "hands_over": by(groups=5)},
            "job.hands_over.groups must be a mapping or a text, not 5.",
        ),
        (
            "StagedSearch",
            {"stages": STAGES, "hands_over": {"skips": 2}},
            "job.hands_over must name a HandOver by its class_path, not {'skips': 2}.",
        ),
        (
            "StagedSearch",
            {"stages": STAGES, "hands_over": 5},
            "job.hands_over must name a HandOver by its class_path, not 5.",
        ),
        ("StagedSearch", {"stages": STAGES, "hands_over": "DARTS"}, "job.hands_over is DARTS, which is no HandOver."),
        (
            "Comparison",
            {"methods": {"a": ["b"]}, "table": "c", "staged": {"a": named("StagedSearch", stages=5)}},
            "job.staged.a.stages must be a list, not 5.",
        ),
        ("Sweep", {"job": named("lit_nas.jobs.DepthMatch", genotype=5)}, "job.job.genotype must be a text, not 5."),
    ],
)
def test_another_type_is_refused(name, arguments, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # its whole text is compared
        made(name, **arguments)
    assert str(caught.value) == message


def test_an_executor_is_checked_as_well():
    with pytest.raises(ValueError, match=r"^executor.threads must be a whole number or null, not 'all'\.$"):
        made("Processes", "executor", threads="all")
    assert made("RayTasks", "executor", cpus=2).cpus == 2  # a whole number is a number


def test_a_rule_may_be_named_by_its_class_alone():
    named = made("StagedSearch", stages=STAGES, hands_over="WinningGroup")
    assert named == StagedSearch(STAGES, WinningGroup())
    assert made("StagedSearch", stages=STAGES) == StagedSearch(STAGES, LeftCandidates())
    assert made("StagedSearch", stages=STAGES, hands_over=by(groups="S3")).hands_over == WinningGroup("S3")


def test_settings_of_stages_stay_plain_data():
    """Classes that they name are those of a configuration, which the stage itself reads."""
    stage = {"model.edges": {"class_path": "PartialChannels", "init_args": {"k": 2}}}
    assert made("StagedSearch", stages=[stage]).stages == (stage,)
    supernet = {"model.space.operations": "S1", "trainer.callbacks+": {"class_path": "LogAlphas"}}
    found = made("ClusteredSearch", stages=STAGES, supernet=supernet)
    assert found.supernet == supernet
    first = found.outline()[0].changes["trainer.callbacks+"]
    assert [each["class_path"] for each in first] == ["LogAlphas", "CorrelateOperators"]
