import json

import pytest

from tests.trainers.golden_losses import CASES, LOSSES, losses

GOLDEN = json.loads(LOSSES.read_text())


def test_every_case_has_its_losses() -> None:
    assert GOLDEN.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_losses_are_those_of_before(case: str) -> None:
    found = losses(CASES[case])
    assert found.keys() == GOLDEN[case].keys()
    for name, values in found.items():
        assert values == pytest.approx(GOLDEN[case][name], rel=1e-8), name
