"""Texts of a trial's as they can be printed, sent and recorded, whatever is in them."""

_LONGEST = 100_000  # characters


def legible(text: str, longest: int = _LONGEST) -> str:
    """The text with escapes in the place of what no encoding has, no database takes or a terminal obeys.

    Of one that is too long the middle is left out, from space to space: what a text says first and last is its point,
    and half a password would not be known for one.
    """
    if len(text) > longest:
        start = text[: longest // 2].rpartition(" ")[0]
        end = text[-(longest // 2) :].partition(" ")[2]
        text = f"{start} [… {len(text) - len(start) - len(end):,} characters left out …] {end}"
    return "".join(each if each.isprintable() or each in "\n\t" else _escape(each) for each in text)


def what_it_says(error: BaseException) -> str:
    """`ValueError: …`, legible, even of an error that fails to say it."""
    try:
        said = str(error)
    except Exception as failure:  # whatever a trial's own class does there
        said = f"(what it says cannot be had: {type(failure).__name__})"
    return legible(f"{type(error).__name__}: {said}")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
