"""A request's body → a picture and its options, whichever of the three ways it came; or a few words in JSON."""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from gateway import headers, uploads
from gateway.errors import invalid_model
from gateway.room import Share
from gateway.schemas import METADATA, JobOptions, JobRequest, PayloadRequest, PredictOptions, ReplayRequest
from shared.errors import BadRequest, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from shared.payloads import decode_base64

_MAX_FIELDS: Final = 16
_MAX_FILES: Final = 4
_MAX_FIELD_BYTES: Final = 16 * 1024
_CHUNK: Final = 64 * 1024
_MOST_VALUES: Final = 10_000
_LENGTH: Final = re.compile(r"[0-9]{1,19}")


@dataclass(slots=True, kw_only=True)
class Submission:
    """A picture's bytes, which start like an image, and what goes with them."""

    image: bytes
    options: JobOptions
    share: Share

    def release(self) -> None:
        """Let the picture go: the store has it, or nobody will. Its request may still be held for a minute."""
        self.image = b""
        self.share.give_back()


async def read_predict(request: Request, *, limit: int, share: Share) -> Submission:
    """The body of `/predict`, of at most `limit` bytes. Fields and parameters that are not known are ignored.

    Raises: PayloadTooLarge, QueueFull, UnsupportedMediaType, BadRequest, InvalidRequest, InvalidBase64, InvalidImage,
    UnsupportedImageFormat, ImageTooLarge.
    """
    image, options = await _read(request, limit, share, PayloadRequest, PredictOptions)
    return Submission(image=image, options=JobOptions(confidence_threshold=options.confidence_threshold), share=share)


async def read_job(request: Request, *, limit: int, share: Share) -> Submission:
    """The body of `/v1/jobs`, as above; fields and parameters that are not known are refused."""
    image, options = await _read(request, limit, share, JobRequest, JobOptions)
    # Without the text of the picture, which a JSON body's fields still have among them.
    fields = {name: getattr(options, name) for name in JobOptions.model_fields}
    return Submission(image=image, options=JobOptions.model_construct(**fields), share=share)


async def read_replay(request: Request, *, limit: int, share: Share) -> ReplayRequest:
    """The body of `/v1/dead-letters/replay`, of at most `limit` bytes and never many; none at all is an empty one.

    Raises: PayloadTooLarge, QueueFull, UnsupportedMediaType, InvalidRequest.
    """
    body = await _bytes(request, min(limit, _MAX_FIELD_BYTES), share)
    if not body:
        return ReplayRequest()
    if _media_type(request) != "application/json":
        raise UnsupportedMediaType("Send application/json, or no body.")
    try:
        return ReplayRequest.model_validate_json(body)
    except ValidationError as error:
        raise invalid_model(error) from None


def _media_type(request: Request) -> str:
    return headers.first(request.scope, b"content-type").partition(";")[0].strip().lower()


async def _read(
    request: Request,
    limit: int,
    share: Share,
    body_model: type[PayloadRequest | JobRequest],
    options_model: type[PredictOptions],
) -> tuple[bytes, PredictOptions]:
    media_type = _media_type(request)
    strict = options_model.model_config.get("extra") == "forbid"
    options: PredictOptions
    if media_type == "application/json":
        if strict and request.scope["query_string"] and request.query_params:
            raise _unknown("A JSON body holds every field; there are no parameters beside it.")
        image, options = _from_json(await _bytes(request, limit, share), body_model)
    elif media_type == "multipart/form-data":
        async with _form(request, await _bytes(request, limit, share)) as form:
            image, fields = await _picture_of(form, strict=strict)
        options = _from_text({**request.query_params, **fields}, options_model)
    elif media_type.startswith("image/"):
        image = await _bytes(request, limit, share)
        options = _from_text(request.query_params, options_model)
    else:
        raise UnsupportedMediaType("Send application/json, multipart/form-data or image/*.")
    uploads.inspect(image)
    return image, options


async def _bytes(request: Request, limit: int, share: Share) -> bytes:
    stated = headers.first(request.scope, b"content-length")
    if _LENGTH.fullmatch(stated) and int(stated) > limit:
        raise _too_large(limit, int(stated))
    pieces = []
    size = 0
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(piece)
        if size > limit:
            raise _too_large(limit, size)
        share.take(len(piece))
        pieces.append(piece)
    # Of one piece alone no copy is made.
    return b"".join(pieces)


def _too_large(limit: int, actual: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body may have at most {limit} bytes.", limit=limit, actual=actual)


def _from_json(body: bytes, model: type[PayloadRequest | JobRequest]) -> tuple[bytes, PredictOptions]:
    if _too_many_values(body):
        raise InvalidRequest("The request has the wrong shape; see errors.", (("#", "There are too many values."),))
    try:
        parsed = model.model_validate_json(body)
    except ValidationError as error:
        raise invalid_model(error) from None
    return decode_base64(parsed.image_base64), parsed


def _too_many_values(body: bytes) -> bool:
    # A picture has no comma. Millions of small values would hold up everybody else for seconds.
    place = -1
    for _ in range(_MOST_VALUES + 1):
        # Ten times as fast as to count them, which in this Python is done byte by byte.
        place = body.find(b",", place + 1)
        if place < 0:
            return False
    return True


def _from_text(values: Mapping[str, str], model: type[PredictOptions]) -> PredictOptions:
    texts = dict(values)
    metadata = texts.pop("metadata", None) if "metadata" in model.model_fields else None
    try:
        options = model.model_validate_strings(texts)
    except ValidationError as error:
        raise invalid_model(error) from None
    if metadata is None:
        return options
    try:
        return options.model_copy(update={"metadata": METADATA.validate_json(metadata)})
    except ValidationError as error:
        first = invalid_model(error).errors[0]
        raise InvalidRequest("The metadata have the wrong shape.", (("#/metadata", first[1]),)) from None


class _InMemory(MultiPartParser):
    """Keeps parts in memory: the body was already counted, and a spooled file would block the loop."""

    spool_max_size = 0

    def close(self) -> None:
        """Close every part's file, also of a part that was cut short."""
        for file in self._files_to_close_on_error:
            file.close()


@asynccontextmanager
async def _form(request: Request, body: bytes) -> AsyncIterator[FormData]:
    async def chunks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _CHUNK):
            yield body[start : start + _CHUNK]

    parser = _InMemory(
        request.headers,
        chunks(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=_MAX_FIELD_BYTES,
    )
    try:
        try:
            form = await parser.parse()
        except (MultiPartException, ValueError) as error:
            # ValueError: a charset of the caller's choice may be one that decodes nothing.
            raise BadRequest("The multipart body cannot be read.") from error
        yield form
    finally:
        parser.close()


async def _picture_of(form: FormData, *, strict: bool) -> tuple[bytes, dict[str, str]]:
    pictures = form.getlist("image")
    picture = pictures[-1] if pictures else None
    if not isinstance(picture, UploadFile):
        sentence = "A part must be named image and carry a file."
        raise InvalidRequest("The request has the wrong shape; see errors.", (("#/image", sentence),))
    if strict and set(form) - {"image", "confidence_threshold"}:
        raise _unknown("Parts other than image and confidence_threshold are not read; send them as parameters.")
    fields: dict[str, Any] = {name: value for name, value in form.items() if name == "confidence_threshold"}
    if any(not isinstance(value, str) for value in fields.values()):
        sentence = "This part must be text, not a file."
        raise InvalidRequest("The request has the wrong shape; see errors.", (("#/confidence_threshold", sentence),))
    return await picture.read(), fields


def _unknown(sentence: str) -> InvalidRequest:
    return InvalidRequest("The request has fields that are not known here.", (("#", sentence),))
