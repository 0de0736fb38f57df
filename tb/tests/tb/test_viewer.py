"""A viewer is opened on a waveform, or one line says why not."""

import os
import stat
import time

import pytest

from tb import viewer
from tb.arguments import UsageError


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Installs programs that write down how they were called, and nothing else."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("DISPLAY", ":0")

    def install(*names, script='echo "$0 $@" > "$SAID.part"; mv "$SAID.part" "$SAID"'):
        monkeypatch.setenv("SAID", str(tmp_path / "said"))
        for name in names:
            program = directory / name
            program.write_text(f"#!/bin/sh\nPATH={os.defpath}\n{script}\n")
            program.chmod(program.stat().st_mode | stat.S_IXUSR)

    return install


@pytest.fixture
def said(tmp_path):
    """How the program was called: it runs beside this one."""

    def wait():
        path = tmp_path / "said"
        end = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < end, "no viewer was started"
            time.sleep(0.01)
        return path.read_text().replace(f"{tmp_path}/bin/", "").strip()

    return wait


def test_gtkwave_comes_first(installed, said, tmp_path):
    installed("surfer", "gtkwave")
    viewer.show(tmp_path / "a.gtkw")
    assert said() == f"gtkwave {tmp_path}/a.gtkw"


def test_surfer_gets_its_command_file_and_the_vcd(installed, said, tmp_path):
    installed("surfer")
    viewer.show(tmp_path / "a.b.gtkw")
    assert said() == f"surfer --command-file {tmp_path}/a.b.sucl {tmp_path}/a.b.vcd"


def test_the_run_does_not_wait_for_it(installed, tmp_path):
    installed("gtkwave", script="exec sleep 60")
    begin = time.monotonic()
    viewer.show(tmp_path / "a.gtkw")
    assert time.monotonic() - begin < 30


def test_it_is_in_a_session_of_its_own(installed, said, tmp_path):
    installed("gtkwave", script='ps -o sid= -p $$ > "$SAID.part"; mv "$SAID.part" "$SAID"')
    viewer.show(tmp_path / "a.gtkw")
    assert int(said()) != os.getsid(0)


def test_without_a_viewer_one_line_names_the_package(installed, tmp_path):
    installed()
    with pytest.raises(UsageError) as error:
        viewer.show(tmp_path / "a.gtkw")
    assert str(error.value) == viewer.missing()
    assert str(error.value).endswith("(apt-get install gtkwave)")


def test_without_a_display_one_line_says_so(installed, monkeypatch, tmp_path):
    installed("gtkwave")
    assert viewer.missing() is None
    monkeypatch.setenv("DISPLAY", "")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(UsageError, match="no display"):
        viewer.show(tmp_path / "a.gtkw")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert viewer.missing() is None
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.setattr(viewer.sys, "platform", "darwin")
    assert viewer.missing() is None
