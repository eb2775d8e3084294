"""Reading configuration files."""

import pytest

from lit_nas.cli.layers import config_files, read_layer, refuse_spec


def test_a_layer_is_read(tmp_path):
    path = tmp_path / "größe.yaml"
    path.write_text("a: {b: 1e-3, c: .5, d: 1.5e2, e: yes}\nname: Zürich\nnone:\n", encoding="utf-8")
    assert read_layer(path) == {"a": {"b": 1e-3, "c": 0.5, "d": 150.0, "e": True}, "name": "Zürich", "none": None}
    path.write_text("a: &x {lr: 1}\nb: {<<: *x, lr: 2}\n")
    assert read_layer(path)["b"] == {"lr": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"- a\n", "must be a mapping with keys such as `model`, `data` and `trainer`, but it holds a list"),
        (b"text\n", "but it holds only 'text'"),
        (b"\xff\xfe\x00\x01", "is not a text file in UTF-8"),
        (b"\x00\x01", "is not a text file in UTF-8"),
        (b"model:\n\tspace: 1\n", "line 2, column 1: .* YAML is indented by spaces, never by tabs"),
        (b"model: 1\ndata: 2\nmodel: 3\n", "line 3, column 1: the key 'model' appears twice"),
        (b"a: {b: 1, b: 2}\n", "the key 'b' appears twice"),
        (b"a: [1\n", "is not YAML: line 2"),
        (b"? [a]\n: 1\n", "is not YAML: line 1"),
    ],
)
def test_what_is_no_layer_is_named_with_its_file(content, message, tmp_path):
    path = tmp_path / "layer.yaml"
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=rf"The configuration '.*layer.yaml' {'' if message[0] == 'i' else '.*'}{message}"
    ):
        read_layer(path)


def test_what_is_no_file(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        read_layer(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no configuration"):
        read_layer(tmp_path / "absent.yaml")
    for empty in ("", " "):
        with pytest.raises(ValueError, match="an empty one"):
            read_layer(empty)


def test_files_are_found_among_arguments():
    words = [
        "-c",
        "a",
        "--config",
        "b",
        "--config=c",
        "-cd",
        "-c=e",
        "--x",
        "-1",
        "--config",
        "{a: 1}",
        "-c",
        "a: 1\n",
        "-c",
    ]
    assert list(config_files(words)) == ["a", "b", "c", "d", "e"]


def test_inputs_of_the_model_follow_from_the_data():
    with pytest.raises(ValueError, match=r"The file sets model\.spec, which follows from the data"):
        refuse_spec({"model": {"init_args": {"spec": {"classes": 7}}}}, "The file")
    for layer in ({}, {"model": "DARTS"}, {"model": {"init_args": None}}, {"model": {"init_args": {"order": 1}}}):
        refuse_spec(layer, "The file")
