"""Pictures that tell `hostile_decoder` what to do, and are pictures to everybody else."""

from functools import cache

from PIL.PngImagePlugin import PngInfo

from tests.support.pictures import a_photograph, encoded


@cache
def poisoned(deed: str) -> bytes:
    """A PNG that does this: `segfault`, `exit`, `shot`, `hang`, `slow`, `brief` or `bomb`."""
    text = PngInfo()
    text.add_text("Comment", f"darkroom does: {deed}")
    return encoded(a_photograph(1, 32), "PNG", pnginfo=text)
