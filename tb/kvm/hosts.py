"""The hosts that are compared: a sequence at guest entry, and the C code around it."""

from collections.abc import Callable

from model.hyp import sequences
from model.kvm.host import Host
from model.kvm.upstream import Upstream

Factory = Callable[[], Host]


def v1() -> Host:
    """As first posted."""
    return Host(sequences.load("v1"))


def bic() -> Host:
    """As the review wanted it."""
    return Host(sequences.load("bic"))


def callout() -> Host:
    """In C, as another reviewer wanted."""
    return Host(sequences.load("callout"), callout=True)


def upstream() -> Host:
    """With all that the others lack."""
    return Upstream(sequences.load("upstream"), advance_first=False)


HOSTS: dict[str, Factory] = {"v1": v1, "bic": bic, "callout": callout, "upstream": upstream}
