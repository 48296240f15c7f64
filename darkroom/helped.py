"""Commands whose help, version and completion end as orderly as their own output does."""

from typing import Any

from typer.core import TyperCommand, TyperGroup

from darkroom.printing import writing


class Command(TyperCommand):
    """A command; reading its words may already print, and end it."""

    def make_context(self, *words: Any, **options: Any) -> Any:
        """What its words come to."""
        with writing():
            return super().make_context(*words, **options)


class Group(TyperGroup):
    """The same for the command that has the others below it."""

    def make_context(self, *words: Any, **options: Any) -> Any:
        """What its words come to."""
        with writing():
            return super().make_context(*words, **options)
