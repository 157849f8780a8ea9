"""Numbers as people read them: with a minus sign that is as wide as a plus, and none on what prints as zero.

CSV, JSON and settings keep the hyphen, since programs read them.
"""

_MINUS = str.maketrans("-", "−")


def decimal(value: float, decimals: int) -> str:
    """`41.23`, `−0.40`."""
    return f"{value:z.{decimals}f}".translate(_MINUS)


def signed(value: float, decimals: int) -> str:
    """`+1.20`, `−0.40`: a difference."""
    return f"{value:+z.{decimals}f}".translate(_MINUS)


def interval(low: float, high: float, decimals: int) -> str:
    """`−0.40 to +2.00`, in words, since a dash between numbers may be a sign."""
    return f"{signed(low, decimals)} to {signed(high, decimals)}"


def scientific(value: float, decimals: int) -> str:
    """`1.234e+09`, `1.234e−05`."""
    return f"{value:z.{decimals}e}".translate(_MINUS)
