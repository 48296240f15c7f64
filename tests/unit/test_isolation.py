"""Decoding in a process of its own, with real processes, good and hostile."""

import errno
import mmap
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from shared.errors import DarkroomError, DecoderCrashed, DecodeTimeout, OutOfMemory
from tests.support.pictures import a_picture, a_png, encoded, headers_of
from tests.support.waiting import until
from worker import isolation
from worker.decoding import decode
from worker.isolation import Decoder, DecoderUnavailable, Limits
from worker.preprocessing import resize

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]
GOOD = encoded(a_picture(), "PNG")
EVIL = b"GIF89a evil"
"""What a hostile program recognises."""


def in_process(image: bytes) -> npt.NDArray[np.uint8]:
    return resize(decode(image))


def a_program(when_evil: str, *, before: str = "") -> tuple[str, ...]:
    """A decoder's program that does something else with an evil picture, and decodes all others.

    What `told` is given there comes back as the picture.
    """
    program = """
import ctypes, os, resource, signal, socket, struct, sys, threading, time
from PIL import Image
from worker import confinement, decoder, decoding

def told(*words):
    text = repr(words).encode()
    return Image.frombytes("RGB", (224, 224), text.ljust(224 * 224 * 3, b"\\0"))

def decode(image, *, mode):
    if image.startswith(b"GIF89a evil"):
        return evil(image) or Image.new("RGB", (1, 1))
    return decoding.decode(image, mode=mode)

def evil(image):
    {}

{}
decoder.main(decode=decode)
"""
    indented = textwrap.indent(textwrap.dedent(when_evil).strip(), "    ").strip()
    return (sys.executable, "-c", program.format(indented, textwrap.dedent(before)))


def heard(decoder: Decoder) -> tuple[object, ...]:
    """What the program told."""
    text = decoder(EVIL).pixels.transpose(1, 2, 0).tobytes().rstrip(b"\0").decode()
    words = eval(text, {"__builtins__": {}})  # noqa: S307  # our own test's words
    assert isinstance(words, tuple)
    return words


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def nursery_of(decoder: Decoder) -> int:
    assert decoder._nursery is not None
    return decoder._nursery._process.pid


def process_of(decoder: Decoder) -> int:
    """The decoder that there is, as soon as there is one."""

    def born() -> int | None:
        return next(iter(children(nursery_of(decoder))), None)

    return until(born)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def descriptors(pid: int | str = "self") -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@pytest.fixture(scope="module")
def shared_decoder() -> Iterator[Decoder]:
    """For tests that do it no harm."""
    with Decoder() as decoder:
        yield decoder


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [(1, 1), (640, 480), (31, 1700)])
def test_a_picture_comes_back_as_it_does_without_a_decoder(
    shared_decoder: Decoder, kind: str, size: tuple[int, int]
) -> None:
    image = encoded(a_picture(*size), kind)

    decoded = shared_decoder(image)

    assert np.array_equal(decoded.pixels, in_process(image))
    assert decoded.decode_ms > 0
    assert decoded.resize_ms > 0


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"\xff\xd8\xff" + b"\xff\xda" * 201,
        a_png(10_000, 6000, (b"IDAT", b"")),
        a_png(70_000, 1, (b"IDAT", b"")),
        a_png(70_000, 70_000, (b"IDAT", b"")),
        *(header[:-1] for header in headers_of(100, 100).values()),
    ],
)
def test_a_picture_that_is_refused_is_refused_with_the_same_words(shared_decoder: Decoder, image: bytes) -> None:
    with pytest.raises(DarkroomError) as alone:
        decode(image)

    with pytest.raises(DarkroomError) as caught:
        shared_decoder(image)

    assert type(caught.value) is type(alone.value)
    assert vars(caught.value) == vars(alone.value)


def test_a_fast_decoder_gives_what_fast_gives_without_one() -> None:
    images = [encoded(a_picture(*size), "JPEG") for size in ((2000, 1500), (300, 400), (20, 14))]

    with Decoder(mode="fast") as decoder:
        for image in images:
            assert np.array_equal(decoder(image).pixels, resize(decode(image, mode="fast"), mode="fast"))

    assert not np.array_equal(in_process(images[0]), resize(decode(images[0], mode="fast"), mode="fast"))


def test_pixels_stay_as_they_are_when_the_next_picture_comes(shared_decoder: Decoder) -> None:
    first = shared_decoder(GOOD).pixels

    shared_decoder(encoded(a_picture(seed=1)))

    assert np.array_equal(first, in_process(GOOD))


def test_a_picture_far_larger_than_a_pipe_passes(shared_decoder: Decoder) -> None:
    image = encoded(a_picture(2000, 1500), "BMP")

    assert np.array_equal(shared_decoder(image).pixels, in_process(image))


def test_one_process_decodes_one_picture_after_the_other() -> None:
    with Decoder() as decoder:
        decoder(GOOD)
        first = process_of(decoder)

        for _ in range(20):
            decoder(GOOD)
        with pytest.raises(DarkroomError):
            decoder(b"BM")

        assert process_of(decoder) == first


def test_a_picture_that_takes_too_long_costs_its_decoder_and_nothing_else() -> None:
    with Decoder(Limits(seconds=0.2), command=a_program("time.sleep(60)")) as decoder:
        decoder(GOOD)
        first, nursery = process_of(decoder), nursery_of(decoder)

        with pytest.raises(DecodeTimeout, match=r"longer than 0\.2 s"):
            decoder(EVIL)

        assert gone(first)
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))
        assert nursery_of(decoder) == nursery


def test_what_spins_is_ended_like_what_sleeps() -> None:
    with (
        Decoder(Limits(seconds=0.2), command=a_program("while True: pass")) as decoder,
        pytest.raises(DecodeTimeout),
    ):
        decoder(EVIL)


def test_a_real_picture_of_many_scans_is_cut_short() -> None:
    image = encoded(Image.new("L", (7000, 7000)), "JPEG", progressive=True)
    last_scan = image[image.rindex(b"\xff\xda") : -2]
    scans = image.count(b"\xff\xda")
    image = image[:-2] + last_scan * (200 - scans) + image[-2:]

    with Decoder(Limits(seconds=0.3)) as decoder:
        decoder(GOOD)
        with pytest.raises(DecodeTimeout):
            decoder(image)

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


@pytest.mark.parametrize(
    "end",
    [
        "ctypes.string_at(0)",
        "os.abort()",
        "os._exit(0)",
        "os._exit(3)",
        "sys.exit()",
        "raise ZeroDivisionError",
        "os.close(1)",
    ],
)
def test_a_picture_that_ends_its_decoder_is_blamed_and_the_next_one_is_not(end: str) -> None:
    with Decoder(command=a_program(end)) as decoder:
        with pytest.raises(DecoderCrashed) as caught:
            decoder(EVIL)

        assert caught.value.code == "invalid-image"
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def test_the_next_decoder_is_on_its_way_before_the_fault_is_told() -> None:
    with Decoder(command=a_program("os._exit(1)")) as decoder:
        with pytest.raises(DecoderCrashed):
            decoder(EVIL)

        # Without another word to the worker's side.
        assert process_of(decoder)


def test_too_much_memory_is_refused_and_the_decoder_replaced() -> None:
    with Decoder(Limits(bytes=400 << 20), command=a_program("bytearray(1 << 30)")) as decoder:
        decoder(GOOD)
        first = process_of(decoder)

        with pytest.raises(OutOfMemory):
            decoder(EVIL)

        assert gone(first)
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def test_a_real_picture_may_need_too_much_memory() -> None:
    image = encoded(Image.new("RGB", (6000, 6000)), "PNG")

    with Decoder(Limits(bytes=200 << 20)) as decoder:
        with pytest.raises(OutOfMemory):
            decoder(image)

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def test_a_picture_that_does_not_even_fit_is_too_much_memory() -> None:
    image = encoded(Image.new("L", (1, 1)), "BMP").ljust(100 << 20, b"\0")

    with Decoder(Limits(bytes=200 << 20)) as decoder:
        with pytest.raises(OutOfMemory):
            decoder(image)

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def spinning(pid: int) -> bool:
    """Whether the process has had a tenth of a second of the processor: no decoder has, before its first picture."""
    return time.clock_gettime((~pid << 3) | 2) > 0.1


def in_the_middle_of(decoder: Decoder, what: str) -> threading.Thread:
    """Kill the decoder or its nursery from outside, as soon as a picture keeps the decoder busy."""
    victim = {"decoder": process_of, "nursery": nursery_of}[what](decoder)
    busy = process_of(decoder)

    def kill() -> None:
        until(lambda: spinning(busy))
        os.kill(victim, signal.SIGKILL)

    return threading.Thread(target=kill)


@pytest.mark.parametrize("what", ["decoder", "nursery"])
def test_a_decoder_killed_from_outside_counts_as_too_much_memory(what: str) -> None:
    with Decoder(command=a_program("while True: pass")) as decoder:
        decoder(GOOD)
        killer = in_the_middle_of(decoder, what)
        killer.start()

        with pytest.raises(OutOfMemory):
            decoder(EVIL)

        killer.join()
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


@pytest.mark.parametrize("what", ["decoder", "nursery"])
def test_who_dies_idle_is_replaced_and_no_picture_blamed(what: str) -> None:
    with Decoder() as decoder:
        decoder(GOOD)
        first = process_of(decoder)
        os.kill({"decoder": first, "nursery": nursery_of(decoder)}[what], signal.SIGKILL)
        until(lambda: gone(first))

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def test_a_nursery_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_END_S", 0.2)
    with Decoder() as decoder:
        decoder(GOOD)
        nursery = nursery_of(decoder)
        os.kill(nursery, signal.SIGSTOP)

        first = process_of(decoder)
        os.kill(first, signal.SIGKILL)
        until(lambda: gone(first))

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))
        assert gone(nursery)


def test_everything_dies_with_the_worker(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import pathlib, sys
        from worker.isolation import Decoder
        decoder = Decoder(command=sys.argv[2:])
        pathlib.Path(sys.argv[1]).write_text(str(decoder._nursery._process.pid))
        decoder(b"GIF89a evil")
        """
    )
    note = tmp_path / "nursery"
    hostile = a_program("while True: pass")
    with subprocess.Popen([sys.executable, "-c", program, note, *hostile]) as worker:
        until(lambda: note.is_file() and note.read_text())
        nursery = int(note.read_text())
        decoder = until(lambda: next(iter(children(nursery)), None))
        until(lambda: spinning(decoder))

        worker.kill()

        until(lambda: gone(nursery) and gone(decoder))


def test_a_decoder_whose_nursery_is_killed_dies_with_it() -> None:
    with Decoder(command=a_program("pass")) as decoder:
        decoder(GOOD)
        process = process_of(decoder)

        os.kill(nursery_of(decoder), signal.SIGKILL)

        until(lambda: gone(process))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_is_meant_for_the_worker_is_not_heard(number: signal.Signals) -> None:
    with Decoder() as decoder:
        decoder(GOOD)
        process, nursery = process_of(decoder), nursery_of(decoder)

        os.kill(process, number)
        os.kill(nursery, number)

        decoder(GOOD)
        assert (process_of(decoder), nursery_of(decoder)) == (process, nursery)
        assert os.getsid(process) != os.getsid(0)


def test_after_closing_no_process_and_no_descriptor_is_left() -> None:
    before = descriptors()
    decoder = Decoder()
    decoder(GOOD)
    processes = [nursery_of(decoder), process_of(decoder)]

    decoder.close()
    decoder.close()

    assert descriptors() == before
    assert all(gone(pid) for pid in processes)


def test_closing_without_having_decoded_leaves_nothing_either() -> None:
    before = descriptors()
    decoder = Decoder()
    nursery = nursery_of(decoder)

    decoder.close()

    assert descriptors() == before
    assert gone(nursery)


def test_faults_leave_no_descriptor_behind() -> None:
    with Decoder(Limits(seconds=0.05), command=a_program("time.sleep(60) if b'sleep' in image else os._exit(1)")) as d:
        d(GOOD)
        before = descriptors(), descriptors(nursery_of(d))

        for _ in range(5):
            with pytest.raises(DecoderCrashed):
                d(EVIL)
            with pytest.raises(DecodeTimeout):
                d(EVIL + b"sleep")
        d(GOOD)

        assert (descriptors(), descriptors(nursery_of(d))) == before


def test_a_decoder_whose_memory_cannot_be_mapped_is_replaced_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, failures = mmap.mmap, [OSError(errno.EMFILE, "too many open files")]

    def mapped(*arguments: int, **options: int) -> mmap.mmap:
        if failures:
            raise failures.pop()
        return real(*arguments, **options)

    before = descriptors()
    with Decoder() as decoder:
        monkeypatch.setattr("worker.isolation.mmap.mmap", mapped)

        assert decoder(GOOD).pixels.shape == (3, 224, 224)
    assert not failures
    assert descriptors() == before


def test_a_program_that_the_worker_starts_inherits_no_way_to_a_decoder() -> None:
    before = {file.name for file in Path("/proc/self/fd").iterdir()}
    with Decoder() as decoder:
        decoder(GOOD)
        opened = {file.name for file in Path("/proc/self/fd").iterdir()} - before

        assert len(opened) >= 4
        assert not any(os.get_inheritable(int(number)) for number in opened if Path(f"/proc/self/fd/{number}").exists())


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_pictures_leave_descriptors_and_memory_as_they_were() -> None:
    pictures = [encoded(a_picture(200, 200, seed=seed), kind) for seed, kind in enumerate(KINDS)]
    with Decoder() as decoder:
        for picture in pictures * 20:
            decoder(picture)
        pids = [os.getpid(), nursery_of(decoder), process_of(decoder)]
        before = [(descriptors(pid), resident(pid)) for pid in pids]

        for picture in pictures * 167:
            decoder(picture)

        after = [(descriptors(pid), resident(pid)) for pid in pids]
        assert [number for number, _ in after] == [number for number, _ in before]
        assert all(late - early < 4 << 20 for (_, early), (_, late) in zip(before, after, strict=True))


def test_two_decoders_of_one_process_do_not_meet() -> None:
    with Decoder() as one, Decoder(command=a_program("os._exit(1)")) as other:
        one(GOOD)
        first = process_of(one)

        with pytest.raises(DecoderCrashed):
            other(EVIL)

        assert np.array_equal(one(GOOD).pixels, in_process(GOOD))
        assert process_of(one) == first


def test_an_order_to_stop_in_the_middle_leaves_nothing_on_the_line() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with Decoder(command=a_program("time.sleep(0.3)")) as decoder:
        decoder(GOOD)
        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            with pytest.raises(KeyboardInterrupt):
                decoder(EVIL)
        finally:
            signal.signal(signal.SIGALRM, before)

        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


# What a decoder under somebody else's control may say in place of an answer. `number` is the picture's.
LIES = {
    "nonsense": "b'x' * 40",
    "more than an answer": "decoder.REPLY.pack(number, 1, 0, 0, 0) + b'more'",
    "far more than an answer": "decoder.REPLY.pack(number, 1, 0, 0, 0) + bytes(300_000)",
    "another picture's answer": "decoder.REPLY.pack(number + 1, 1, 0, 0, 0)",
    "the last picture's answer": "decoder.REPLY.pack(number - 1, 0, 0, 0, 0)",
    "no such verdict": "decoder.REPLY.pack(number, 77, 0, 0, 0)",
    "an enormous verdict": "decoder.REPLY.pack(number, 2**64 - 1, 0, 0, 0)",
    "more time than there was": "decoder.REPLY.pack(number, 0, 10**18, 0, 0)",
    "too large and not too large": "decoder.REPLY.pack(number, 2, 0, 0, 50_000_000)",
    "too long and not too long": "decoder.REPLY.pack(number, 3, 0, 0, 65_535)",
}


@pytest.mark.parametrize("lie", LIES)
def test_a_decoder_that_talks_nonsense_is_replaced(lie: str) -> None:
    hostile = a_program(
        f"""
        number = 2
        os.write(1, {LIES[lie]})
        time.sleep(60)
        """
    )
    with Decoder(Limits(seconds=30), command=hostile) as decoder:
        decoder(GOOD)
        first = process_of(decoder)

        with pytest.raises(DecoderCrashed):
            decoder(EVIL)

        assert gone(first)
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


@pytest.mark.parametrize("half", ["b'x' * 39", "decoder.REPLY.pack(2, 0, 0, 0, 0)[:-1]", "b''"])
def test_half_an_answer_is_waited_for_no_longer_than_a_whole_one(half: str) -> None:
    hostile = a_program(f"os.write(1, {half}); time.sleep(60)")
    with Decoder(Limits(seconds=0.2), command=hostile) as decoder:
        decoder(GOOD)

        with pytest.raises(DecodeTimeout):
            decoder(EVIL)


FORGING = """
def forge(*_):
    os.write(1, decoder.REPLY.pack(2, 0, 0, 0, 0))

signal.signal(signal.SIGUSR1, forge)
"""


def test_a_decoder_that_speaks_unasked_is_replaced_before_the_next_picture() -> None:
    with Decoder(command=a_program("return told('true')", before=FORGING)) as decoder:
        assert heard(decoder) == ("true",)
        first = process_of(decoder)
        os.kill(first, signal.SIGUSR1)
        until(lambda: decoder._line is not None and not decoder._line.quiet)

        # A forged answer to it lies in the pipe.
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))
        assert gone(first)


def test_a_decoder_that_does_not_listen_is_left_when_the_time_is_up() -> None:
    deaf = a_program("pass", before="decoder.serve = lambda *_: time.sleep(60)")
    image = encoded(a_picture(2000, 1500), "BMP")

    with Decoder(Limits(seconds=0.2), command=deaf) as decoder, pytest.raises(DecodeTimeout):
        decoder(image)


ATTEMPTS = {
    "open a file": "open('/etc/passwd')",
    "make a file": "open('/tmp/made-by-a-decoder', 'w')",
    "look into a folder": "os.listdir('/')",
    "make a socket": "socket.socket()",
    "make a pipe": "os.pipe()",
    "copy a descriptor": "os.dup(0)",
}
"""What the limits alone refuse."""

WORSE = {
    "open a file in the place of another": "(os.close(2), open('/etc/passwd'))",
    "fork": "os.fork() or os._exit(0)",
    "start a program": "os.execv('/bin/true', ['true'])",
    "start a thread": "threading.Thread(target=print).start()",
    "kill another process": "os.kill(os.getppid(), 0)",
    "kill all of its group": "os.kill(0, 0)",
    "look at another process": "ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) and 1 / 0",
    "lift a limit": "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
    "rename": "os.rename('/tmp', '/tmp2')",
    "change the user": "os.setuid(12345)",
}
"""What needs the kernel's filter of calls as well, for root at least."""


def refusals(attempts: dict[str, str]) -> str:
    return f"""
        done = []
        for name, attempt in {attempts!r}.items():
            try:
                eval(attempt)
            except (OSError, RuntimeError, ValueError, ZeroDivisionError):
                continue
            done.append(name)
        return told(*done)
        """


def test_a_decoder_can_neither_open_nor_start_nor_send_anything() -> None:
    with Decoder(command=a_program(refusals(ATTEMPTS | WORSE))) as decoder:
        assert heard(decoder) == ()


def test_without_the_filter_the_limits_still_keep_it_from_opening_anything() -> None:
    unfiltered = a_program(refusals(ATTEMPTS), before="confinement._filter_calls = lambda: None")

    with Decoder(command=unfiltered) as decoder:
        assert heard(decoder) == ()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_for_an_ordinary_user_the_limits_keep_it_from_forking_as_well() -> None:
    attempts = ATTEMPTS | {"fork": WORSE["fork"]}
    ordinary = """
        confinement._filter_calls = lambda: None
        confine = decoder.confine
        decoder.confine = lambda most: os.setuid(65534) or confine(most)
        """

    with Decoder(command=a_program(refusals(attempts), before=ordinary)) as decoder:
        assert heard(decoder) == ()
        assert np.array_equal(decoder(GOOD).pixels, in_process(GOOD))


def test_a_decoder_can_be_neither_dumped_nor_traced_nor_given_privileges() -> None:
    get_dumpable, get_no_new_privileges = 3, 39
    ask = f"""
        prctl = ctypes.CDLL(None).prctl
        return told(prctl({get_dumpable}), prctl({get_no_new_privileges}, 0, 0, 0, 0))
        """

    with Decoder(command=a_program(ask, before="confinement._filter_calls = lambda: None")) as decoder:
        assert heard(decoder) == (0, 1)


def test_the_attempts_do_succeed_in_this_process() -> None:
    for attempt in ATTEMPTS.values():
        result = eval(attempt, {"open": open, "os": os, "socket": socket})  # noqa: S307  # our own words
        if isinstance(result, int):
            os.close(result)
        elif isinstance(result, tuple):
            for number in result:
                os.close(number)
        elif not isinstance(result, list):
            result.close()
    Path("/tmp/made-by-a-decoder").unlink()  # noqa: S108  # made above


def test_nothing_of_the_workers_environment_or_command_line_reaches_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_REDIS_URL", "redis://:secret@127.0.0.1/0")
    with Decoder(command=a_program("return told(*os.environ)")) as decoder:
        assert set(heard(decoder)) == {
            "LC_ALL",
            "MALLOC_MMAP_THRESHOLD_",
            "MALLOC_TRIM_THRESHOLD_",
            "OMP_NUM_THREADS",
            "OPENBLAS_NUM_THREADS",
        }
        for pid in (nursery_of(decoder), process_of(decoder)):
            assert b"secret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_processes_are_named_for_what_they_are() -> None:
    with Decoder() as decoder:
        decoder(GOOD)
        names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in (nursery_of(decoder), process_of(decoder))]

        assert [name.rstrip(b"\0") for name in names] == [b"darkroom decoder (nursery)", b"darkroom decoder"]


def test_a_decoder_holds_three_descriptors_and_the_nursery_none_of_the_workers(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as file, Decoder() as decoder:
        os.set_inheritable(file.fileno(), True)
        decoder(GOOD)

        held = Path(f"/proc/{process_of(decoder)}/fd").iterdir()
        nursery = Path(f"/proc/{nursery_of(decoder)}/fd").iterdir()
        assert sorted(number.name for number in held) == ["0", "1", "2"]
        assert not any("secret" in str(number.readlink()) for number in nursery)


def test_the_kernel_takes_a_decoder_before_the_worker() -> None:
    with Decoder() as decoder:
        decoder(GOOD)

        assert Path(f"/proc/{process_of(decoder)}/oom_score_adj").read_text() == "1000\n"


@pytest.mark.parametrize("command", [("/does/not/exist",), (sys.executable, "-c", "pass")])
def test_a_program_that_does_not_start_is_told(command: tuple[str, ...]) -> None:
    before = descriptors()

    with pytest.raises(DecoderUnavailable), Decoder(command=command) as decoder:
        decoder(GOOD)

    assert descriptors() == before


def test_a_program_whose_decoders_do_not_start_is_told_and_no_picture_blamed() -> None:
    broken = a_program("pass", before="decoder.confine = lambda _: os._exit(1)")

    with Decoder(command=broken) as decoder, pytest.raises(DecoderUnavailable):
        decoder(GOOD)


def test_a_decoder_that_says_nothing_at_first_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    mute = a_program("pass", before="decoder.confine = lambda _: time.sleep(60)")
    monkeypatch.setattr(isolation, "_START_S", 1.0)

    with Decoder(command=mute) as decoder, pytest.raises(DecoderUnavailable):
        decoder(GOOD)
