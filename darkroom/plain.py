"""Text that nobody obeys."""

from typing import Final

_UNSHOWN: Final = "\N{REPLACEMENT CHARACTER}"


def plain(text: str) -> str:
    """The text for a terminal: a file's name may hold what a terminal obeys, or bytes that are no text."""
    return "".join(letter if letter.isprintable() else _UNSHOWN for letter in text)


def encodable(text: str) -> str:
    """The text for UTF-8: halves of pairs, which stand for bytes that are no text, are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
