"""Reads the page of a report as a browser does, strictly: everything that is opened is closed, in order."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

_VOID = {"meta", "link", "br"}


@dataclass
class Element:
    """An element of a page."""

    tag: str
    has: dict[str, str]
    parent: "Element | None" = None
    parts: "list[Element | str]" = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text within it."""
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, *tags: str, **has: str) -> "list[Element]":
        """The elements within it that have one of the tags, or any, in order."""
        found = []
        for part in (each for each in self.parts if isinstance(each, Element)):
            found += [part] if (not tags or part.tag in tags) and has.items() <= part.has.items() else []
            found += part.all(*tags, **has)
        return found

    def inside(self, tag: str) -> bool:
        """Whether it is within such an element."""
        return self.parent is not None and (self.parent.tag == tag or self.parent.inside(tag))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = self.place = Element("", {})

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.place)
        self.place.parts.append(element)
        if tag not in _VOID:
            self.place = element

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.place.tag, f"{self.place.tag} ends as {tag}"
        assert self.place.parent is not None
        self.place = self.place.parent

    def handle_data(self, data: str) -> None:
        self.place.parts.append(data)


def page_of(folder: Path) -> Element:
    reader = _Reader()
    reader.feed((folder / "index.html").read_text(encoding="utf-8"))
    assert reader.place is reader.root, "something is never closed"
    return reader.root
