"""What simulators build is kept in sim_build, under a name made from all that it depends on."""

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SIM_BUILD = ROOT / "sim_build"


def kept(simulator: str, depends_on: object, build: Callable[[Path], None]) -> Path:
    """The directory with a build: an earlier one, if nothing has changed since.

    `build` fills an empty directory. One process builds, the others wait for it; a build that was
    killed half-way is never used.
    """
    key = hashlib.sha256(repr(depends_on).encode()).hexdigest()[:16]
    place = SIM_BUILD / simulator / key
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")):
        if not place.exists():
            for killed in place.parent.glob(f"{key}-*"):
                shutil.rmtree(killed, ignore_errors=True)
            part = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=place.parent))
            build(part)
            part.rename(place)
    return place


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes. The system lifts it when the process ends, however it ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
