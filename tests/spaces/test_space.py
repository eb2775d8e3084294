"""What all search spaces have in common."""

from dataclasses import dataclass

import pytest

from lit_nas.genotype import CellGenotype, Edge, Genotype
from lit_nas.operations import EVALUATION, SEARCH
from lit_nas.spaces import CellSpace, DartsSpace, NasBench201Space, Position, SearchSpace, known_spaces

CELL = CellGenotype((Edge("skip_connect", 0, 1),), (1,), 1)


@dataclass(frozen=True)
class PairSpace(SearchSpace):
    """Two cells, without a word on style."""

    name = "pair_of_the_test"
    genotype_cells = ("left", "right")

    @property
    def cells(self):
        return {name: CellSpace(name, ("skip_connect",), ((0, 1),), 1) for name in self.genotype_cells}

    @property
    def layout(self):
        return Position("left", 4), Position("right", 4, stride=2, style=EVALUATION), Position("left", 4, stride=2)


def test_spaces_are_known_by_name_from_their_definition_on():
    assert known_spaces()["darts"] is DartsSpace
    assert known_spaces()["nas_bench_201"] is NasBench201Space
    assert known_spaces()["pair_of_the_test"] is PairSpace
    assert DartsSpace().name == "darts"


def test_a_space_checks_its_genotypes():
    assert Genotype({"left": CELL, "right": CELL}, "pair_of_the_test").cells["left"] is CELL
    with pytest.raises(ValueError, match=r"cells has \['left'\], but .* 'pair_of_the_test' needs \['left', 'right'\]"):
        Genotype({"left": CELL}, "pair_of_the_test")
    unknown = CellGenotype((Edge("skip", 0, 1),), (1,), 1)
    with pytest.raises(ValueError, match=r"Unknown operations \['skip'\] in cells\.right\.nodes"):
        Genotype({"left": CELL, "right": unknown}, "pair_of_the_test")


def test_a_space_checks_more_if_it_wants_to():
    @dataclass(frozen=True)
    class Picky(PairSpace):
        name = "picky_of_the_test"

        @classmethod
        def check_genotype(cls, cells):
            super().check_genotype(cells)
            if cells["left"] != cells["right"]:
                raise ValueError("left and right must be equal.")

    assert Genotype({"left": CELL, "right": CELL}, "picky_of_the_test")
    with pytest.raises(ValueError, match="left and right must be equal"):
        Genotype({"left": CELL, "right": CellGenotype((Edge("none", 0, 1),), (1,), 1)}, "picky_of_the_test")


def test_positions_say_what_the_cell_type_leaves_open():
    space = PairSpace()
    first, second, third = space.layout
    assert [space.cell_at(position).stride(0) for position in space.layout] == [1, 2, 2]
    assert space.cell_at(first) is not space.cell_at(third)
    assert (space.style_at(first), space.style_at(second)) == (SEARCH, EVALUATION)
    reduced = DartsSpace()
    assert {reduced.cell_at(position).reduction for position in reduced.layout if position.cell == "reduce"} == {True}
    widened = Position("reduce", 8, stride=1)
    assert not reduced.cell_at(widened).reduction


def test_two_spaces_cannot_have_one_name():
    with pytest.raises(ValueError, match=r"'darts' is that of lit_nas\.spaces\.darts\.DartsSpace; .* needs another"):

        class Impostor(PairSpace):
            name = "darts"

    assert known_spaces()["darts"] is DartsSpace


def test_the_name_belongs_to_the_class():
    with pytest.raises(TypeError, match=r"Odd\.name must be a text"):

        class Odd(PairSpace):
            @property
            def name(self):
                return "odd"
