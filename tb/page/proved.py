"""The proofs as the page shows them: by topic, with what became of each claim when last tried."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tb import prove
from tb.proofs import results
from tb.proofs.claims import Claim, Status
from tb.proofs.results import Kept, ResultError

NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Proof:
    """A claim, and what became of it."""

    claim: Claim
    kept: Kept | None
    waves: list[str]  #: links to the files of a counterexample

    @property
    def word(self) -> str:
        """What became of it."""
        return self.kept.status.value if self.kept else NOT_RUN

    @property
    def bad(self) -> bool:
        """It was tried, and is not proved."""
        return self.kept is not None and self.kept.status is not Status.PROVED


@dataclass(frozen=True, slots=True)
class Topic:
    """Claims about one thing."""

    name: str
    proofs: list[Proof]

    @property
    def counts(self) -> str:
        """As in 1 refuted, 3 proved."""
        return _counts(self.proofs)


@dataclass(frozen=True, slots=True)
class Proofs:
    """All of them."""

    topics: list[Topic]
    unreadable: list[str]

    @property
    def all(self) -> list[Proof]:
        """In one list."""
        return [proof for topic in self.topics for proof in topic.proofs]

    @property
    def counts(self) -> str:
        """As in 1 refuted, 105 proved."""
        return _counts(self.all)

    @property
    def bad(self) -> list[Proof]:
        """Those that were tried and are not proved."""
        return [proof for proof in self.all if proof.bad]

    @property
    def old(self) -> int:
        """How many results are of another version of the code."""
        return sum(proof.kept is not None and not proof.kept.current for proof in self.all)


def _counts(proofs: list[Proof]) -> str:
    """How many of each kind, the worst first."""
    counts = Counter(proof.word for proof in proofs)
    words = (Status.REFUTED.value, Status.NOT_PROVED.value, NOT_RUN, Status.PROVED.value)
    return ", ".join(f"{counts[word]} {word}" for word in words if counts[word])


def proofs(link: Callable[[Path], str]) -> Proofs:
    """Every claim; files as links."""
    try:
        prove.load()
    except ImportError as error:
        return Proofs([], [f"the proofs cannot be loaded: {error}"])
    topics: dict[str, list[Proof]] = {}
    unreadable = []
    for claim in prove.select([]):
        kept = None
        try:
            kept = results.read(prove.DIRECTORY / claim.name)
        except ResultError as error:
            unreadable.append(str(error))
        proof = Proof(claim, kept, _waves(kept, link))
        topics.setdefault(claim.name.partition(".")[0], []).append(proof)
    return Proofs([Topic(name, proofs) for name, proofs in topics.items()], unreadable)


def _waves(kept: Kept | None, link: Callable[[Path], str]) -> list[str]:
    if kept is None or kept.waves is None:
        return []
    files = (kept.waves, kept.waves.with_suffix(".gtkw"))
    return [link(file) for file in files if file.is_file()]
