"""Names of Unicode's characters, which come with Python itself: no network needed, seconds to train on.

"LATIN SMALL LETTER A WITH GRAVE" is a lower-case letter, "KATAKANA-HIRAGANA DOUBLE HYPHEN" punctuation: which of seven
kinds a character is of is to be learned from its name. Python keeps the database of Unicode 3.2 beside its current one
for ever, so the content is the same in every version.
"""

import hashlib
import sys
from functools import lru_cache
from unicodedata import ucd_3_2_0 as unicode

from trainers.data.text.examples import Example, TextData, split

_KINDS = {
    "Lu": "upper-case letter", "Lt": "upper-case letter", "Ll": "lower-case letter", "Lo": "other letter",
    "Lm": "other letter", "Mn": "mark", "Mc": "mark", "Me": "mark", "Nd": "number", "Nl": "number", "No": "number",
    "Pc": "punctuation", "Pd": "punctuation", "Ps": "punctuation", "Pe": "punctuation", "Pi": "punctuation",
    "Pf": "punctuation", "Po": "punctuation", "Sm": "symbol", "Sc": "symbol", "Sk": "symbol", "So": "symbol",
}  # fmt: skip
CLASSES = tuple(dict.fromkeys(_KINDS.values()))
_NUMBERED = ("CJK ", "HANGUL SYLLABLE", "YI SYLLABLE")  # tens of thousands of letters, named by their number or sound
_HELD_OUT = 8
CHECKSUM = "eadccfa885d8c94ddfd9f41618570c1e0a9d73586f05eecfed4112fa63a4b0d6"
"""Of the content, for whoever asks before it is read."""


@lru_cache(maxsize=1)
def load() -> TextData:
    """9,998 training and 1,457 test names; an eighth is held out by content."""
    found = []
    for character in map(chr, range(sys.maxunicode + 1)):
        name, kind = unicode.name(character, ""), _KINDS.get(unicode.category(character))
        if name and kind and not name.startswith(_NUMBERED):
            found.append(Example(name.lower(), "", CLASSES.index(kind)))
    digest = hashlib.sha256("".join(f"{each.first}\t{each.target:.0f}\n" for each in found).encode())
    return TextData(*split(found, _HELD_OUT), CLASSES, digest.hexdigest())
