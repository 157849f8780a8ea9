"""Names as they are, in Markdown, LaTeX and Plotly's texts: what would be markup there is a character like any other.

LaTeX: pdfTeX knows no scripts but Latin ones. Greek letters and what a table uses are set in mathematics; of any other
character a document for pdfTeX shows its code, while LuaLaTeX and XeLaTeX, whose fonts have more, show itself.
"""

import html
import re
import textwrap
import unicodedata
from collections.abc import Iterable

_BETWEEN_WORDS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # within a word it emphasises nothing
_MARKDOWN = (
    (re.compile(r"([\\`*])"), r"\\\1"),
    (_BETWEEN_WORDS, r"\\_"),
    (re.compile(r"\](?=[(\[:])"), r"\\]"),  # a link, or what defines one
    (re.compile(r"<(?=[A-Za-z/!?])"), r"\\<"),
    (re.compile(r"&(?=#?\w+;)"), r"\\&"),
    (re.compile(r"#(?=#*$)"), r"\\#"),  # at the end of a heading
)
_IN_PAIRS = ("~", "$")  # one alone is nothing


def for_markdown(text: str) -> str:
    """A text in which nothing is Markdown; numbers and words stay as they are."""
    for pattern, replacement in _MARKDOWN:
        text = pattern.sub(replacement, text)
    for mark in _IN_PAIRS:
        if text.count(mark) > 1:
            text = text.replace(mark, f"\\{mark}")
    return text.replace("|", "&#124;")


_BLOCK = re.compile(r"^([#>+=-])|^(\d+)(?=[.)]\s)")  # a heading, a quotation, a list


def paragraph_for_markdown(text: str) -> str:
    """As `for_markdown`, of a text with which a line begins: nor is it a heading, a list or a quotation."""
    return _BLOCK.sub(lambda found: f"{found[2]}\\" if found[2] else f"\\{found[1]}", for_markdown(text))


def for_plotly(text: str) -> str:
    """A text in which nothing is a tag: Plotly reads some, and entities."""
    return html.escape(text, quote=False)


def lines_for_plotly(text: str, most: int) -> str:
    """As `for_plotly`, on lines of so many characters at most: Plotly breaks none itself, and a phone is narrow."""
    return "<br>".join(map(for_plotly, textwrap.wrap(text, most)))


_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "π": "pi", "ρ": "rho", "ς": "varsigma",
    "σ": "sigma", "τ": "tau", "υ": "upsilon", "φ": "varphi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma",
    "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi", "Π": "Pi", "Σ": "Sigma", "Φ": "Phi", "Ψ": "Psi",
    "Ω": "Omega",
}  # fmt: skip
_SIGNS = {
    "·": "cdot", "±": "pm", "×": "times", "÷": "div", "†": "dagger", "‡": "ddagger", "→": "rightarrow",
    "←": "leftarrow", "↔": "leftrightarrow", "⇒": "Rightarrow", "≤": "leq", "≥": "geq", "≠": "neq", "≈": "approx",
    "∞": "infty", "∈": "in", "∂": "partial", "∇": "nabla", "∑": "sum", "∏": "prod", "√": "surd", "∘": "circ",
    "∅": "emptyset", "∩": "cap", "∪": "cup", "⊂": "subset", "¬": "neg", "µ": "mu", "…": "ldots",
}  # fmt: skip
_LATEX = str.maketrans(
    {
        "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "—": "---", "−": "$-$", "<": "$<$",
        ">": "$>$", "|": "$|$", "½": r"$\frac12$", "¼": r"$\frac14$", "¾": r"$\frac34$", "°": r"$^\circ$",
        **{raised: f"$^{digit}$" for digit, raised in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
        '"': r"\textquotedbl{}", "`": r"\textasciigrave{}",
        "\0": "{}", "[": "{[}", "]": "{]}", "*": "{*}",  # after \\ they would be its arguments
        **{letter: rf"$\{name}$" for letter, name in (_GREEK | _SIGNS).items()},
    }
)  # fmt: skip
_LIGATURES = re.compile("(?<=-)(?=-)|(?<=,)(?=,)|(?<=')(?=')")


def for_latex(text: str) -> str:
    """A text for LaTeX's text mode, in which nothing is a command and no two characters become another."""
    return _LIGATURES.sub("\0", unicodedata.normalize("NFC", text)).translate(_LATEX)


def declared_for_pdftex(texts: Iterable[str]) -> list[str]:
    """Lines for a document's head by which pdfTeX shows the code of every character that it does not know."""
    found = {character for text in texts for character in unicodedata.normalize("NFC", text)}
    return [
        rf"\ifcsname u8:\detokenize{{{character}}}\endcsname\else"
        rf"\DeclareUnicodeCharacter{{{ord(character):04X}}}{{\texttt{{U+{ord(character):04X}}}}}\fi"
        for character in sorted(found)
        if ord(character) > 126 and ord(character) not in _LATEX
    ]
