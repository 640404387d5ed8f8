"""What surrounds a run: locks, left-over files, moved folders, terminals, environments, fonts."""

import errno
import fcntl
import io
import json
import os
import socket
import time
import warnings

import jax
import numpy as np
import pytest
from conftest import ROOT, load_module
from rich.console import Console
from rich.table import Table

from multimodal_vit import jax_settings, locking
from multimodal_vit.analysis import drawing, figures
from multimodal_vit.errors import DamagedError, UserError, way_out
from multimodal_vit.files import (
    UNFINISHED,
    HeldFolder,
    check_writable,
    read_json,
    remove_left_over,
    replacing,
    temporary_folder,
    write_json,
)
from multimodal_vit.locking import Lock
from multimodal_vit.terminal import Unfailing, show, unfailing_output
from multimodal_vit.workdir import Workdir

# ---- files ----


@pytest.mark.parametrize("content", [{}, {"test": 1}, {"files": {}, "format_version": 2}])
def test_a_file_without_its_checksum_is_damaged_whatever_it_holds(content, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DamagedError, match="its sha256 is missing"):
        read_json(path)
    Workdir(tmp_path).save_json("results.json", {"good": True})  # as evaluation.json is written
    assert json.loads((tmp_path / "damaged" / "results.json").read_text()) == content
    assert read_json(path) == {"good": True}


def test_a_folder_in_the_place_of_a_file_is_set_aside(tmp_path):
    (tmp_path / "results.json" / "inside").mkdir(parents=True)
    with pytest.raises(DamagedError):
        read_json(tmp_path / "results.json")
    write_json(tmp_path / "results.json", {"good": True})
    assert read_json(tmp_path / "results.json") == {"good": True}
    assert (tmp_path / "damaged" / "results.json" / "inside").is_dir()


def test_what_killed_writers_left_is_removed_and_what_is_written_stays(tmp_path):
    left = tmp_path / f".0{UNFINISHED}"
    left.write_text("half")
    folder = tmp_path / f".1{UNFINISHED}"
    (folder / "half").mkdir(parents=True)
    (tmp_path / "notes.tmp").write_text("a person's")
    with replacing(tmp_path / "file") as file, temporary_folder(tmp_path) as temporary:
        file.write("new")
        remove_left_over(tmp_path)
        assert temporary.is_dir()
    assert (tmp_path / "file").read_text() == "new"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "notes.tmp"}


def test_without_locks_left_over_files_are_told_by_their_age(tmp_path, monkeypatch):
    def none(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    young, old = tmp_path / f".young{UNFINISHED}", tmp_path / f".old{UNFINISHED}"
    for path in (young, old):
        path.write_text("half")
    os.utime(old, (0, 0))
    remove_left_over(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_folder_that_is_moved_or_deleted_is_noticed_and_its_new_place_said(tmp_path):
    (tmp_path / "run").mkdir()
    held = HeldFolder(tmp_path / "run")
    held.check()
    (tmp_path / "run").rename(tmp_path / "new")
    with pytest.raises(UserError, match=f"was moved to {tmp_path / 'new'}"):
        held.check()
    (tmp_path / "run").mkdir()  # another folder there is not it
    with pytest.raises(UserError, match="was moved to"):
        held.check()
    (tmp_path / "new").rmdir()
    with pytest.raises(UserError, match="was deleted or moved"):
        held.check()
    held.close()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "make room"),
        (errno.EROFS, "may read and write"),
        (errno.EACCES, "may read and write"),
        (errno.ENOENT, "deleted or moved"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ESTALE, "start the same command again"),
    ],
)
def test_the_way_out_fits_the_fault(number, words):
    assert words in way_out(OSError(number, os.strerror(number)))
    assert words in way_out(ValueError(f"tensorstore: {os.strerror(number)} [/x]"))


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="cannot be written; name a folder") as refused:
        check_writable(tmp_path, "--workdir=run")
    assert "make room" not in str(refused.value)


def test_programs_that_a_killed_process_left_in_part_are_removed(tmp_path):
    for name in ("good-cache", "good-atime", "cut_off-cache"):
        (tmp_path / name).write_bytes(b"12345678")
    assert jax_settings._mend_programs(tmp_path)
    assert not (tmp_path / "cut_off-cache").exists()
    assert (tmp_path / "good-cache").exists()


# ---- locks ----


@pytest.mark.parametrize("name", ["ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL", "EIO"])
def test_a_file_system_without_locks_is_refused_with_a_way_out_and_nothing_stays(
    name, tmp_path, monkeypatch
):
    number = getattr(errno, name)

    def none(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", none)
    workdir = Workdir(tmp_path / "run")
    with pytest.raises(UserError, match=r"no working locks.*MULTIMODAL_VIT_LOCKS=off") as refused:
        workdir.locked(wait=True).__enter__()
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("MULTIMODAL_VIT_LOCKS", "off")
    with workdir.locked() as free:
        assert free


def test_locks_that_are_granted_twice_are_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
    with pytest.raises(UserError, match="a second lock was granted"):
        Lock(tmp_path / "lock").acquire()


def test_a_lock_names_its_holder_and_nobody_waits_for_ever(tmp_path):
    first, second = Lock(tmp_path / "lock"), Lock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    with pytest.raises(UserError, match=f"was locked for 0 s by process {os.getpid()}; end that"):
        second.wait(0.2)
    first.release()
    second.wait(0.2)
    second.release()


def test_a_lock_of_another_host_is_told_from_one_that_was_left(tmp_path, monkeypatch):
    """On a file system that shows a lock to its own host alone, which flock here grants."""
    monkeypatch.setattr(locking, "SECONDS_BETWEEN_RENEWALS", 0.1)
    path, lock = tmp_path / "lock", Lock(tmp_path / "lock")
    content = json.dumps({"host": f"not-{socket.gethostname()}", "pid": 7})
    path.write_text(content)
    began = time.monotonic()
    assert lock.acquire()  # nobody renews it
    assert time.monotonic() - began > 0.25
    lock.release()
    path.write_text(content)
    os.utime(path, (1, 1))
    began = time.monotonic()
    assert lock.acquire()  # old: not even watched
    assert time.monotonic() - began < 0.25
    lock.release()
    path.write_text(content)
    monkeypatch.setattr(time, "sleep", lambda seconds: path.touch())  # its holder renews it
    assert not lock.acquire()
    assert "process 7 on host not-" in lock.holder()
    os.utime(path, (1, 1))
    assert f"if it is gone, remove {path}" in lock.holder()


# ---- output ----


class Broken(io.StringIO):
    """A pipe whose reader is gone."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Broken(), "closed"])
def test_nothing_that_cannot_be_printed_ends_a_run(stream, monkeypatch, capsys):
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr("sys.stdout", stream)
    with unfailing_output():
        print("lost ± 0.3")
        Console().print("lost too")
        Console().print(Table("a", "b"))


def test_signs_that_a_terminal_lacks_are_spelt():
    raw = io.BytesIO()
    stream = Unfailing(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("95.1 ± 0.3 日\n")
    stream.flush()
    assert raw.getvalue() == b"95.1 +- 0.3 \\u65e5\n"


@pytest.mark.parametrize("width", [1, 5, 20, 200])
def test_a_narrow_terminal_loses_no_figure(width):
    table = Table("a long heading", "value", title="a title")
    table.add_row("true/false accuracy of the pairs", "12.34% – 56.78%")
    file = io.StringIO()
    show(Console(file=file, width=width), table)
    assert "true/false accuracy of the pairs" in file.getvalue()
    assert "12.34% – 56.78%" in file.getvalue()


def test_what_an_environment_says_of_arithmetic_changes_no_number():
    before = {name: getattr(jax.config, name, None) for name in jax_settings.NUMERICS}
    try:
        jax.config.update("jax_enable_x64", True)
        jax.config.update("jax_default_prng_impl", "rbg")
        jax_settings.compute_as_documented()
        assert not jax.config.jax_enable_x64
        assert jax.config.jax_default_prng_impl == "threefry2x32"
    finally:
        for name, value in before.items():
            if value is not None:
                jax.config.update(name, value)


NAMES = ("$\\frac{1}{$", "a_b^c", "$x$", "\\$5", "日本", "\u202eright", "tab\tand\nline", "x" * 500)


def test_names_are_drawn_as_text_whatever_signs_they_hold(tmp_path):
    """No markup is parsed, and matplotlib says nothing of signs that its font lacks."""
    words = np.arange(8).reshape(2, 4)
    images = np.zeros((2, 8, 8, 1), np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = figures.sample_sheet(images, words, words[:, ::-1], (2, 2), NAMES)
        drawing.save(figure, tmp_path / "sheet.png", dpi=40)
        figures.curves([], "$\\frac{1}{$", tmp_path / "curves.png")
    title = figure.axes[0].get_title()
    assert NAMES[0] in title
    for axes in figure.axes:
        assert not axes.title.get_parse_math()
        assert not axes.xaxis.label.get_parse_math()
    assert "日本" in drawing.names_without_signs(NAMES)
    assert drawing.names_without_signs(("zero", "Größe", "$x$")) == []


def test_at_every_point_of_its_writing_a_file_is_the_old_or_the_new_one(tmp_path, monkeypatch):
    """As `benchmarks/crash_points.py` sees the points; with what is left over removed."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    crash_points = load_module(ROOT / "benchmarks" / "crash_points.py")
    (tmp_path / "run").mkdir()
    (tmp_path / "copies").mkdir()
    path = tmp_path / "run" / "results.json"
    write_json(path, {"value": "old"})
    recorder = crash_points.Recorder(tmp_path / "run", tmp_path / "copies")
    with recorder.watching():
        write_json(path, {"value": "new" * 1000})
    assert len(recorder.points) >= 7  # opening, fsync, rename; and the file cut off
    found = []
    for copy in recorder.states.values():
        remove_left_over(copy)
        assert [p.name for p in copy.iterdir()] == ["results.json"]
        found.append(read_json(copy / "results.json")["value"][:3])
    assert set(found) == {"old", "new"}
