"""A sub-model: one point of the lattice, saying how much of every dimension is kept.

Without a value type of its own, a sub-model would travel as a float here, a tuple there and a string in metric
names, and two spellings of one width would be counted as two sub-models.
"""

from dataclasses import dataclass

_CODES = {
    "width": ("w", 3),
    "depth": ("d", 2),
    "hidden": ("h", 4),
    "heads": ("a", 2),
    "neurons": ("f", 4),
    "rank": ("r", 3),
}


@dataclass(frozen=True, init=False, repr=False)
class SubModel:
    """The truncation `∩_j Dim_j↓b_j` of SortedNet's Eq. 1, e.g. `SubModel(width=0.5)`.

    Fractions (float) count as a share of the full dimension in (0, 1]; whole numbers (int) as a count ≥ 1.
    `a <= b` means that `a` is nested in `b`: no dimension of `a` exceeds that of `b`. It is a partial order.

    Raises:
        ValueError: no dimension given, or a value outside its range.
    """

    dims: tuple[tuple[str, float], ...]

    def __init__(self, **dims: float) -> None:
        if not dims:
            raise ValueError("a sub-model needs at least one dimension, e.g. SubModel(width=0.5)")
        for name, value in dims.items():
            if isinstance(value, int) and value >= 1:
                continue
            if not 0 < value <= 1:
                raise ValueError(f"{name}={value!r}: give a share in (0, 1] or a whole number of at least 1")
        object.__setattr__(self, "dims", tuple(sorted(dims.items())))

    def __getitem__(self, name: str) -> float:
        for key, value in self.dims:
            if key == name:
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self.dims)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of its dimensions, in alphabetical order."""
        return tuple(name for name, _ in self.dims)

    @property
    def values(self) -> tuple[float, ...]:
        """The values in the order of `dimensions`."""
        return tuple(value for _, value in self.dims)

    def __le__(self, other: "SubModel") -> bool:
        return self.dimensions == other.dimensions and all(
            mine <= theirs for mine, theirs in zip(self.values, other.values, strict=True)
        )

    def __lt__(self, other: "SubModel") -> bool:
        return self != other and self <= other

    @property
    def label(self) -> str:
        """A name that is legal in MLflow keys: `w050`, `w033.3`, `d12_a12_h0768`, dimensions in alphabetical order.

        Of a stage's own dimension its number follows the letter: `w2-050`.

        Labels of one dimension sort by size as long as counts fit the digits they are padded to: shares, depths and
        heads to 99, ranks to 999, hidden sizes and neurons (`f`, of feed-forward layers) to 9999. Beyond, `d100`
        sorts before `d12`. So nothing here sorts by label: order is that of the lattice.
        """
        return "_".join(_code(name, value) for name, value in self.dims)

    @property
    def module_name(self) -> str:
        """The label as a name for a torch module, which may hold no dot."""
        return self.label.replace(".", "p")

    def __repr__(self) -> str:
        return f"SubModel({', '.join(f'{name}={value!r}' for name, value in self.dims)})"


def _code(name: str, value: float) -> str:
    base, _, stage = name.partition("_")
    letter, digits = _CODES.get(base, (base, 0))
    letter += f"{stage}-" * bool(stage)
    if isinstance(value, int) and base != "width":
        return f"{letter}{value:0{digits}d}"
    whole, _, rest = f"{value * 100:.6f}".rstrip("0").partition(".")
    return f"{letter}{whole:0>{digits}}" + (f".{rest}" if rest else "")
