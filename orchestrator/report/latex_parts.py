"""What a LaTeX table has beside means and their SDs, as it is asked for."""

from orchestrator.errors import UserError, unknown

PARTS = ("published", "sortedness", "macs")
USUAL = frozenset({"macs"})
NONE = "none"


def read_parts(option: str, text: str) -> frozenset[str]:
    """`published,macs`, or `none`.

    Raises:
        UserError: a part that there is none of, or none beside another.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if parts == [NONE]:
        return frozenset()
    for part in parts:
        if part not in PARTS:
            raise unknown("part of a LaTeX table", part, (*PARTS, NONE))
    if not parts:
        raise UserError(f"{option}: give some of {', '.join(PARTS)}, with commas, or {NONE}")
    return frozenset(parts)
