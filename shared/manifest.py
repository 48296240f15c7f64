"""What gateway and worker must agree on about a model: its name, its version, its labels."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A model package's outside. `labels` are in the order of its scores."""

    name: str
    version: str
    labels: tuple[str, ...]


MOCK: Final = Manifest(name="mock", version="1", labels=("Mammal", "Bird", "Reptile", "Amphibian"))
"""The default model: no weights, no knowledge, the same answer for the same pixels."""
