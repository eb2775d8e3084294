"""Groups of operators: the spaces of StacNAS, and files of them."""

import json

import pytest

from lit_nas.spaces import (
    OPERATOR_GROUPS,
    STACNAS_S1,
    DartsSpace,
    OperatorGroups,
    load_operator_groups,
    operator_groups,
)

SIZES = {"S1": (2, 1, 2, 2), "S2": (5, 2), "S3": (1, 1, 3, 2), "S4": (1, 4), "S5": (1, 1)}


@pytest.mark.parametrize("name", OPERATOR_GROUPS)
def test_the_spaces_of_the_paper(name):
    groups = OPERATOR_GROUPS[name]
    assert tuple(len(groups.members(key)) for key in groups.keys) == SIZES[name]
    assert all(key in ("skip_connect",) or key.endswith("_3x3") for key in groups.keys)
    assert DartsSpace(operations=name).operations == (*groups.operations, "none")


def test_s1_has_the_operators_of_darts():
    assert set(DartsSpace(operations="S1").operations) == set(DartsSpace().operations)
    assert STACNAS_S1.members("avg_pool_3x3") == ("max_pool_3x3", "avg_pool_3x3")


def test_groups_survive_a_file_and_plain_data(tmp_path):
    STACNAS_S1.save(tmp_path / "groups.json")
    read = load_operator_groups(tmp_path / "groups.json")
    assert read == STACNAS_S1 == operator_groups(str(tmp_path / "groups.json")) == operator_groups("S1")
    assert list(read.groups) == list(STACNAS_S1.groups)
    assert operator_groups(STACNAS_S1.plain()) == operator_groups(STACNAS_S1) == STACNAS_S1
    assert hash(read) == hash(STACNAS_S1)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({}, "groups must map"),
        (["skip_connect"], "groups must map"),
        ({"skip_connect": "skip_connect"}, "groups.skip_connect must be a list"),
        ({"skip_connect": 1}, "groups.skip_connect must be a list"),
        ({"skip_connect": ["skip_connect", "sep_conv_9x9"]}, r"Unknown operations \['sep_conv_9x9'\] in groups"),
        ({"none": ["none"]}, r"groups names \['none'\]"),
        ({"skip_connect": ["skip_connect", "skip_connect_2"]}, r"groups names \['skip_connect_2'\]"),
        ({"skip_connect": ["skip_connect", "skip_connect"]}, "more than once"),
        ({"sep_conv_3x3": ["sep_conv_5x5"]}, "groups.sep_conv_3x3 must name its key"),
    ],
)
def test_groups_that_make_no_sense_are_refused(groups, message):
    with pytest.raises(ValueError, match=message):
        OperatorGroups(groups)


def test_an_operator_without_a_group_is_named():
    with pytest.raises(KeyError, match="'conv_7x1_1x7' belongs to none of the groups"):
        STACNAS_S1.members("conv_7x1_1x7")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "something"}, "its format is not"),
        ({"format": "lit-nas operator groups", "version": 2}, "its version is 2"),
        ({"format": "lit-nas operator groups", "version": 1}, "it lacks 'groups'"),
        ({"format": "lit-nas operator groups", "version": 1, "groups": {"none": ["none"]}}, "groups names"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "groups.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"is not a file of operator groups: .*{message}"):
        load_operator_groups(tmp_path / "groups.json")


def test_unknown_names_are_refused():
    with pytest.raises(FileNotFoundError, match=r"no file of operator groups 'S9'.*S1, S2, S3, S4, S5"):
        operator_groups("S9")
    with pytest.raises(ValueError, match=r"space.operations is 'S9'.*S1, S2, S3, S4, S5"):
        DartsSpace(operations="S9")


@pytest.mark.parametrize("groups", OPERATOR_GROUPS.values(), ids=list(OPERATOR_GROUPS))
def test_published_groups_are_what_the_check_accepts(groups):
    assert OperatorGroups(groups.groups) == groups
