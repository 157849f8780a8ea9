"""What a part of a study's own file is known by: what can change a result counts, and nothing else."""

import sys
from pathlib import Path

import pytest

from trainers.own.source import Source, digest

STUDY = '''"""A study."""
import math
import numpy as np

from trainers import register

SHARP = 2.0
TABLE = {"a": 1}
TABLE["b"] = 2
OTHER = 5


def helper(x):
    """Says how sharp."""
    return inner(x) ** SHARP


def inner(x):
    return x + TABLE["b"]


@register.sampler("mine", needs_gaps=False)
def mine(moment):
    # smaller first
    return [helper(target) for target in moment.lattice]


STUDY = dict(title="One", levels=["mine"])
'''


def known(text: str = STUDY, file: str = "my_study.py", decorators: bool = True) -> str:
    line = next(number for number, each in enumerate(text.splitlines(), 1) if each.startswith("def mine"))
    return digest(Source(file, text, line, "__main__", ""), decorators)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("[helper(target)", "[2 * helper(target)"),  # itself
        ("inner(x) ** SHARP", "inner(x) ** -SHARP"),  # what it calls
        ("return x + TABLE", "return x - TABLE"),  # what that calls
        ("SHARP = 2.0", "SHARP = 3.0"),  # a constant
        ('TABLE["b"] = 2', 'TABLE["b"] = 3'),  # changed in place
        ('"a": 1', '"a": 2'),
        ("needs_gaps=False", "needs_gaps=True"),  # how it is registered
        ("def mine(moment):", "def mine(moment, power: float = 1.0):"),
    ],
)
def test_what_can_change_its_result_changes_what_it_is_known_by(was: str, becomes: str) -> None:
    assert STUDY.count(was) == 1
    assert known(STUDY.replace(was, becomes)) != known()


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        ("# smaller first", "# the smaller ones first"),
        ('    """Says how sharp."""\n', '    """Another docstring."""\n'),
        ('    """Says how sharp."""\n', ""),
        ("return inner(x) ** SHARP", "return (inner( x )\n        ** SHARP)"),
        ('title="One"', 'title="Another"'),
        ("OTHER = 5", "OTHER = 6"),
        ("import math\n", ""),
        ("import numpy as np\n", "import numpy as np, json\n"),
        ("STUDY = dict", '@register.sampler("another")\ndef another(moment):\n    return [1]\n\n\nSTUDY = dict'),
        ("STUDY = dict", 'register.dataset("another")(mine)\nSTUDY = dict'),
        ("def helper(x):", "def unused():\n    return TABLE\n\n\ndef helper(x):"),
    ],
)
def test_what_cannot_does_not(was: str, becomes: str) -> None:
    assert STUDY.count(was) == 1
    assert known(STUDY.replace(was, becomes)) == known()


def test_it_is_the_same_wherever_the_file_lies_and_in_whichever_order_it_defines() -> None:
    helper, inner, mine = (STUDY.index(each) for each in ("def helper(", "def inner(", "@register.sampler("))
    moved = STUDY[:helper] + STUDY[inner:mine] + STUDY[helper:inner] + STUDY[mine:]
    assert moved != STUDY
    assert known(moved, "elsewhere/other.py") == known()


def test_of_a_metric_it_does_not_count_how_it_is_shown() -> None:
    other = STUDY.replace("needs_gaps=False", "title='a better title'")
    assert known(other, decorators=False) == known(decorators=False)
    assert known(other.replace("[helper", "[3 + helper"), decorators=False) != known(decorators=False)


def test_what_is_made_by_a_call_is_known_by_the_call_and_what_makes_it() -> None:
    text = "def make(n):\n    return lambda moment: [n]\n\n\nfor n in (1, 2):\n    register.sampler(f'm{n}')(make(n))\n"
    source = Source("a.py", text, 6, "__main__", "")
    assert digest(source) != digest(Source("a.py", text.replace("[n]", "[n, n]"), 6, "__main__", ""))


def test_a_module_beside_the_file_counts_and_an_installed_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    text = STUDY.replace("import math\n", "import own_thing_of_mine\nimport plotly\n").replace(
        "return x + TABLE", "plotly, own_thing_of_mine.f(x)\n    return x + TABLE"
    )
    inside = text.replace("import own_thing_of_mine\n", "").replace("plotly, own", "import own_thing_of_mine\n    own")
    (tmp_path / "own_thing_of_mine.py").write_text("from own_deeper import g\n\n\ndef f(x):\n    return g(x)\n")
    (tmp_path / "own_deeper.py").write_text("def g(x):\n    return x\n")
    first, lazy = known(text), known(inside)
    (tmp_path / "own_deeper.py").write_text("def g(x):\n    # nothing new\n    return x\n")
    assert (known(text), known(inside)) == (first, lazy)
    (tmp_path / "own_deeper.py").write_text("def g(x):\n    return x + 1\n")
    assert known(text) != first
    assert known(inside) != lazy
    assert "own_thing_of_mine" not in sys.modules  # read, not run


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        digest(Source("<stdin>", "this is no Python", 1, "__main__", ""))
    with pytest.raises(ValueError, match="nothing is at line 7"):
        digest(Source("<stdin>", "", 7, "__main__", ""))
