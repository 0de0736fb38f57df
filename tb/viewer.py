"""Opens a test's waveform in the viewer that is installed: GTKWave, or else Surfer."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tb.arguments import UsageError

#: What they open, for a save file of GTKWave's: beside it are the VCD and Surfer's command file.
_VIEWERS = {
    "gtkwave": lambda save_file: [str(save_file)],
    "surfer": lambda save_file: [
        "--command-file",
        str(save_file.with_suffix(".sucl")),
        str(save_file.with_suffix(".vcd")),
    ],
}


def missing() -> str | None:
    """What is not there to open a waveform, with the mend; None if one can be opened."""
    if _installed() is None:
        return "no viewer of waveforms is installed (apt-get install gtkwave)"
    if not _has_display():
        return "there is no display to open a waveform on (DISPLAY is not set)"
    return None


def show(save_file: Path) -> None:
    """Open a waveform, and leave the viewer to itself. UsageError if that cannot be."""
    if why := missing():
        raise UsageError(why)
    viewer = _installed()
    assert viewer is not None
    subprocess.run(
        # The shell goes at once; what it has started stays, in a session of its own.
        ["sh", "-c", '"$@" &', "sh", viewer, *_VIEWERS[viewer](save_file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=False,
    )


def _installed() -> str | None:
    return next((viewer for viewer in _VIEWERS if shutil.which(viewer)), None)


def _has_display() -> bool:
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform == "darwin" or any(map(os.environ.get, variables))
