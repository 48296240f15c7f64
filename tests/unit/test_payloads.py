import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ImageTooLarge, InvalidBase64, InvalidImage, UnsupportedImageFormat
from shared.payloads import check_size, decode_base64, image_format
from tests.support.pictures import a_picture, encoded


@given(st.binary(max_size=2000))
def test_what_was_encoded_comes_back_from_either_alphabet(data: bytes) -> None:
    standard = base64.b64encode(data).decode()
    url_safe = base64.urlsafe_b64encode(data).decode()

    assert decode_base64(standard) == data
    assert decode_base64(url_safe) == data
    assert decode_base64(f"data:image/png;base64,{standard}") == data
    assert decode_base64(f"data:image/png;base64,{url_safe}") == data


@given(st.one_of(st.text(), st.text("ABab01+/-_= \n"), st.text().map("data:".__add__)))
def test_any_text_is_bytes_or_invalid_base64_and_nothing_else(text: str) -> None:
    try:
        data = decode_base64(text)
    except InvalidBase64:
        return

    payload = text.rpartition(",")[2]
    assert len(data) == len(payload) // 4 * 3 - payload.count("=")


@pytest.mark.parametrize(
    "text",
    [
        "aGk",  # no padding
        "aGk==",
        "a===",
        "====",
        "aG=k",
        "aGk=aGk=",
        "aGk=\n",
        " aGk=",
        "aG k",
        "aGk\x00",
        "aGé=",
        "aG\ud800=",
        "+-+-",
        "_/_/",
        "!!!!",
    ],
)
def test_what_is_not_strict_base64_is_refused(text: str) -> None:
    with pytest.raises(InvalidBase64):
        decode_base64(text)


def test_the_refusal_never_repeats_what_was_sent() -> None:
    with pytest.raises(InvalidBase64) as caught:
        decode_base64("secret secret")

    assert "secret" not in caught.value.detail


def test_one_wrong_letter_deep_in_a_long_text_is_refused() -> None:
    text = base64.b64encode(bytes(range(256)) * 400).decode()

    for place in (0, 1000, 60_001, len(text) - 1):
        with pytest.raises(InvalidBase64):
            decode_base64(f"{text[:place]}*{text[place + 1 :]}")


def test_a_mixture_of_alphabets_is_refused_wherever_it_stands() -> None:
    long = "A" * 100_000

    with pytest.raises(InvalidBase64):
        decode_base64(f"+AAA{long}-AAA")


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "DATA:image/svg+xml;charset=utf-8;BASE64,"])
def test_a_data_url_of_an_image_is_read_past_its_prefix(prefix: str) -> None:
    assert decode_base64(f"{prefix}aGk=") == b"hi"


@pytest.mark.parametrize(
    "prefix",
    ["data:text/plain;base64,", "data:image/png,", "data:;base64,", "data:", "data:image/png;base64", "data:,"],
)
def test_any_other_data_url_is_refused_with_a_sentence_about_it(prefix: str) -> None:
    with pytest.raises(InvalidBase64, match="data: URL"):
        decode_base64(f"{prefix}aGk=")


def test_no_text_is_no_bytes() -> None:
    assert decode_base64("") == b""
    assert decode_base64("data:image/png;base64,") == b""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_format_is_known_by_its_first_bytes(kind: str) -> None:
    assert image_format(encoded(a_picture(), kind)) == kind


def test_the_pictures_of_a_stereo_camera_count_as_jpeg() -> None:
    both = encoded(a_picture(), "MPO", save_all=True, append_images=[a_picture(seed=1)])

    assert image_format(both) == "JPEG"


def test_no_bytes_are_an_invalid_image_and_strange_ones_an_unsupported_format() -> None:
    with pytest.raises(InvalidImage):
        image_format(b"")
    for start in (
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"P6 1 1 255\n...",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"GIF88a",
        b"\xff\xd8",
        b"B",
    ):
        with pytest.raises(UnsupportedImageFormat):
            image_format(start)


@pytest.mark.parametrize("size", [(10_000, 5000), (65_535, 762), (1, 65_535), (0, 0)])
def test_an_image_at_the_limits_passes(size: tuple[int, int]) -> None:
    check_size(*size)


@pytest.mark.parametrize(
    ("size", "limit", "actual"),
    [
        ((10_000, 5001), 50_000_000, 50_010_000),
        ((65_536, 1), 65_535, 65_536),
        ((1, 65_536), 65_535, 65_536),
        ((100_000, 1000), 50_000_000, 100_000_000),
    ],
)
def test_an_image_over_a_limit_is_refused_with_the_numbers(size: tuple[int, int], limit: int, actual: int) -> None:
    with pytest.raises(ImageTooLarge) as caught:
        check_size(*size)

    assert (caught.value.limit, caught.value.actual) == (limit, actual)
    assert str(limit) in caught.value.detail
    assert str(actual) in caught.value.detail
