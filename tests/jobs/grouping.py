"""What one search tells the next one by its choice: representatives of groups first, then the members of the best."""

from collections.abc import Mapping
from dataclasses import dataclass

from lit_nas.jobs import Found, HandOver


@dataclass(frozen=True)
class BestGroup(HandOver):
    """Each edge goes on among the group of its most probable operation, `none` beside it."""

    keys = ("model.space.operations", "model.space.candidates")

    groups: Mapping[str, tuple[str, ...]]
    """Operation of the first search -> its group."""

    def changes(self, before: Found):
        """The candidates of the next search."""
        rows = {}
        for name, edges in before.candidates.cells.items():
            best = []
            for edge in edges:
                values = dict(zip(edge.operations, edge.probabilities, strict=True))
                best.append(max(self.groups, key=lambda name: values[name]))
            rows[name] = [[*self.groups[operation], "none"] for operation in best]
        every = ["none", *(member for members in self.groups.values() for member in members)]
        return {"model.space.operations": every, "model.space.candidates": rows}
