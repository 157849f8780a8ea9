from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import FOUR
from trainers.lattice import Lattice
from trainers.submodel import SubModel

widths = st.integers(1, 100).map(lambda percent: percent / 100)


def test_labels_are_legal_mlflow_keys_and_sort_by_size() -> None:
    assert [target.label for target in FOUR] == ["w025", "w050", "w075", "w100"]
    assert SubModel(width=1 / 3).label == "w033.333333"
    assert SubModel(depth=12, hidden=768, heads=12).label == "d12_a12_h0768"
    ranks = [SubModel(rank=rank).label for rank in (1, 8, 64, 100, 256)]
    assert ranks == sorted(ranks) == ["r001", "r008", "r064", "r100", "r256"]


@given(widths, widths)
def test_nesting_is_the_order_of_widths(a: float, b: float) -> None:
    assert (SubModel(width=a) <= SubModel(width=b)) == (a <= b)


@given(st.sets(widths, min_size=1))
def test_below_is_every_target_that_is_nested(values: set[float]) -> None:
    lattice = Lattice.product(width=tuple(values))
    for target in lattice:
        assert lattice.below(target) == tuple(other for other in lattice if other <= target)
    assert lattice.below(lattice.largest) == lattice.targets


@given(st.sets(widths, min_size=1), st.integers(1, 100))
def test_some_targets_are_spread_evenly_from_the_smallest_to_the_largest(values: set[float], count: int) -> None:
    lattice = Lattice.product(width=tuple(values))
    count = min(count, len(lattice))
    places = [lattice.targets.index(target) for target in lattice.spread(count)]
    assert len(places) == count
    assert places[-1] == len(lattice) - 1
    assert places[0] == 0 or count == 1
    gaps = [later - earlier for earlier, later in pairwise(places)]
    assert not gaps or 1 <= min(gaps) <= max(gaps) <= min(gaps) + 1


def test_a_product_of_two_dimensions_has_one_top_and_one_bottom() -> None:
    lattice = Lattice.product(width=(0.5, 1.0), depth=(6, 12))
    assert lattice.largest == SubModel(width=1.0, depth=12)
    assert lattice.smallest == SubModel(width=0.5, depth=6)
    assert set(lattice.below(SubModel(width=0.5, depth=12))) == {
        SubModel(width=0.5, depth=6),
        SubModel(width=0.5, depth=12),
    }


@pytest.mark.parametrize(
    "targets",
    [
        (),
        (SubModel(width=0.5), SubModel(width=0.5)),
        (SubModel(width=0.5), SubModel(depth=2)),
        (SubModel(width=0.5, depth=12), SubModel(width=1.0, depth=6)),
    ],
)
def test_a_lattice_that_is_none_is_refused(targets: tuple[SubModel, ...]) -> None:
    with pytest.raises(ValueError, match=r"lattice|target"):
        Lattice(targets)


@pytest.mark.parametrize("width", [0.0, -0.5, 1.5])
def test_a_width_outside_its_range_is_refused(width: float) -> None:
    with pytest.raises(ValueError, match="width"):
        SubModel(width=width)
