import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lit_nas.genotype import CellGenotype, Edge, Genotype, load_genotype, published_genotypes
from lit_nas.operations import OPERATIONS

CELL = CellGenotype((Edge("skip_connect", 0, 2),), (2,))


@st.composite
def cells(draw):
    inputs, edges, fed = draw(st.integers(1, 3)), [], []
    for target in range(inputs, inputs + draw(st.integers(1, 5))):
        sources = draw(st.lists(st.sampled_from([*range(inputs), *fed]), max_size=4))
        edges += [Edge(draw(st.sampled_from(sorted(OPERATIONS))), source, target) for source in sources]
        fed += [target] if sources else []
    if not fed:
        edges, fed = [Edge("none", 0, inputs)], [inputs]
    return CellGenotype(tuple(edges), tuple(draw(st.lists(st.sampled_from(fed), min_size=1, unique=True))), inputs)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
GENOTYPES = st.builds(
    lambda normal, reduce, more, name, meta: Genotype(
        {"normal": normal, "reduce": reduce, **more}, "darts", name, meta
    ),
    cells(),
    cells(),
    st.dictionaries(st.text(), cells(), max_size=1),
    st.text(),
    st.dictionaries(st.text(), PLAIN, max_size=3),
)


@settings(max_examples=60, deadline=None)
@given(GENOTYPES)
def test_json_round_trip(genotype):
    read = Genotype.from_json(genotype.to_json())
    assert read == genotype
    assert list(read.cells) == list(genotype.cells)
    assert Genotype.from_dict(genotype.to_dict()) == genotype


def test_file_is_readable_and_has_one_node_a_line(tmp_path):
    path = tmp_path / "new" / "cell.json"
    genotype = load_genotype("DARTS_V2")
    genotype.save(path)
    assert '        [["skip_connect", 0], ["dil_conv_3x3", 2]]\n' in path.read_text()
    assert Genotype.load(path) == load_genotype(path) == load_genotype(str(path)) == genotype
    assert [file.name for file in path.parent.iterdir()] == ["cell.json"]


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "cell.json"
    load_genotype("DARTS_V1").save(path)
    monkeypatch.setattr("os.fsync", lambda file: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        load_genotype("DARTS_V2").save(path)
    assert Genotype.load(path).name == "DARTS_V1"
    assert [file.name for file in tmp_path.iterdir()] == ["cell.json"]


def test_edges_are_grouped_by_target_in_given_order():
    cell = CellGenotype((Edge("none", 2, 3), Edge("skip_connect", 1, 2), Edge("none", 0, 3), Edge("none", 0, 2)), (3,))
    assert [edge[1:] for edge in cell.edges] == [(1, 2), (0, 2), (2, 3), (0, 3)]
    assert cell.inbound(3) == (Edge("none", 2, 3), Edge("none", 0, 3))
    assert cell.num_nodes == 2


@pytest.mark.parametrize("name", published_genotypes())
def test_published_files_name_themselves(name):
    genotype = load_genotype(name.lower())
    assert genotype.name == name
    edges = 1 if genotype.space in ("mobile", "recurrent") else 2
    assert all(len(cell.inbound(state)) == edges for cell in genotype.cells.values() for state in set(cell.concat))


def test_parallel_edges_are_kept():
    assert load_genotype("NASNet").cells["normal"].inbound(5) == (Edge("avg_pool_3x3", 0, 5),) * 2


def test_search_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    genotype = load_genotype("NASNet")
    torch.save({"lit_nas": {"genotype": genotype.to_dict()}}, path)
    assert load_genotype(path) == genotype
    torch.save({"lit_nas": {}}, path)
    with pytest.raises(ValueError, match=r"last\.ckpt' holds no genotype: the key lit_nas\.genotype is missing"):
        load_genotype(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match=r"last\.ckpt' cannot be read as a checkpoint"):
        load_genotype(path)


def test_unknown_source_lists_what_is_known(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"'DARTS_V3' is neither .*DARTS_V3' was looked for.*AmoebaNet, DARTS_RNN_V1"
    ):
        load_genotype("DARTS_V3")
    with pytest.raises(FileNotFoundError, match="There is no genotype file"):
        Genotype.load(tmp_path / "none.json")


def _edit(*path, value=None):
    data = load_genotype("DARTS_V2").to_dict()
    place = data
    for key in path[:-1]:
        place = place[key]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return json.dumps(data)


NODES = ("cells", "normal", "nodes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_edit("name", value="x")[:-20], "is not valid JSON, or it is truncated"),
        ("[]", r"the key 'format' must be 'lit-nas genotype', not \[\]"),
        (_edit("format", value="other"), "the key 'format' must be 'lit-nas genotype', not 'other'"),
        ("[" * 100_000, "is not valid JSON, or it is truncated: maximum recursion depth"),
        (_edit("version", value=2), r"has version 2, but .* knows the versions \[1\]\. Read it with a newer release"),
        (_edit("version", value=0), r"has version 0, but .* \[1\]\. The key 'version' must be one of these"),
        (_edit("version", value=True), r"has version True, but .* must be one of these numbers"),
        (_edit("version", value=1.0), r"has version 1\.0, but .* must be one of these numbers"),
        (_edit("version"), r"has version None, but .* must be one of these numbers"),
        (_edit("cells", "reduce"), r"cells has \['normal'\], but .* 'darts' needs \['normal', 'reduce'\]"),
        (_edit("cells"), "the key cells is missing"),
        (_edit("cells", "normal", value=[]), r"cells\.normal must be an object, not \[\]"),
        (_edit(*NODES), r"the key cells\.normal\.nodes is missing"),
        (_edit(*NODES, value={}), r"cells\.normal\.nodes must be a list"),
        (_edit(*NODES, 1, value=5), r"cells\.normal\.nodes\[1\] must be a list, not 5"),
        (_edit(*NODES, value=[]), r"cells\.normal: nodes must hold at least one edge"),
        (_edit(*NODES, 0, 0, value=["skip_connect"]), r'nodes\[0\] must hold pairs like \["skip_connect", 0\]'),
        (_edit(*NODES, 0, 0, value=["skip_connect", True]), r"nodes\[0\] must hold pairs"),
        (
            _edit(*NODES, 0, 0, value=["skip", 0]),
            r"Unknown operations \['skip'\] in cells\.normal\.nodes\. Known are: none",
        ),
        (
            _edit(*NODES, 0, 0, value=["none", 2]),
            r"cells\.normal: .* of state 2 reads state 2.*allowed are the states 0 to 1",
        ),
        (_edit(*NODES, 0, 0, value=["none", -1]), "reads state -1"),
        (_edit(*NODES, 0, value=[]), r"reads node state 2, which has no inbound edge.*states \[3, 4, 5\]"),
        (_edit("cells", "normal", "concat", value=[2, 6]), r"concat is \[2, 6\].*Allowed are \[2, 3, 4, 5\]"),
        (_edit("cells", "normal", "concat", value=[2, 2]), "each once"),
        (_edit("cells", "normal", "concat", value=[]), "at least one"),
        (_edit("cells", "normal", "concat", value=["2"]), r"each item of cells\.normal\.concat must be an integer"),
        (_edit("cells", "normal", "inputs", value=0), "inputs must be at least 1, not 0"),
        (_edit("cells", "normal", "inputs", value="2"), r"cells\.normal\.inputs must be an integer"),
        (_edit("cells", "normal", "edges", value=[]), r"unknown key cells\.normal\.edges\. Allowed are: inputs, nodes"),
        (_edit("comment", value="x"), "unknown key comment. Allowed are: format, version, name"),
        (_edit("name", value=3), "name must be a string, not 3"),
        (_edit("meta", value=[1]), "meta must be an object"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"wrong\.json'.*{message}"):
        load_genotype(path)


def test_file_that_is_not_text(tmp_path):
    path = tmp_path / "wrong.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"wrong\.json' is not a genotype file: it is not text"):
        Genotype.load(path)


def test_wrong_objects():
    with pytest.raises(ValueError, match="leads to state 1, which is an input"):
        CellGenotype((Edge("none", 0, 1),), (2,))
    with pytest.raises(ValueError, match="'other' needs at least one cell"):
        Genotype({}, "other")
    assert Genotype({"cell": CELL}, "other").cells == {"cell": CELL}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), torch.zeros(()), {1: 2}, [object()]])
def test_meta_must_be_plain(value):
    genotype = Genotype({"normal": CELL, "reduce": CELL}, meta={"accuracy": value})
    with pytest.raises(ValueError, match=r"meta\.accuracy.* which a genotype file cannot hold"):
        genotype.to_json()


def test_importing_it_is_cheap():
    code = "import sys, lit_nas.genotype as g; g.published_genotypes(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_meta_of_a_copy_leaves_the_original_as_it_is():
    genotype = Genotype({"normal": CELL, "reduce": CELL}, name="mine", meta={"method": "DARTS", "seed": 1})
    more = genotype.with_meta(seed=2, epoch=3)
    assert genotype.meta == {"method": "DARTS", "seed": 1}
    assert more.meta == {"method": "DARTS", "seed": 2, "epoch": 3}
    assert (more.cells, more.space, more.name) == (genotype.cells, genotype.space, genotype.name)
    assert load_genotype("DARTS_V2").with_meta(seed=1).meta != load_genotype("DARTS_V2").meta


def test_a_genotype_of_a_space_that_is_not_imported_is_kept_as_it_is():
    own = CellGenotype((Edge("operation_of_a_package", 0, 1),), (1,), 1)
    genotype = Genotype({"cell": own}, "space_of_a_package")
    assert Genotype.from_json(genotype.to_json()) == genotype
    with pytest.raises(ValueError, match=r"Unknown operations \['operation_of_a_package'\] in cells\.normal\.nodes"):
        Genotype({"normal": own, "reduce": own}, "darts")
