"""Known defects of guest debugging: each is reproduced, caught, and gone in its repaired twin."""

from tb.cases import register
from tb.core.testbench import CoreTestbench
from tb.harness import CORE
from tb.kvm import play
from tb.kvm.catalogue import CATALOGUE, Defect
from tb.testbench import Failure

TITLE = "known defects of guest debugging, each with its repaired twin"
HEADER = ("defect", "", "scenario", "caught by", "and breaks", "at", "KVM_RUN", "cycle", "twin")


async def catch(tb: CoreTestbench, defect: Defect) -> None:
    """Play the twin and the faulty variant, each on the reference and on the core.

    The faulty one comes last: a waveform has the last run, and is marked where the defect shows.
    """
    tb.say([f"{defect.name}: {defect.text}"])
    twin = await play.on_both(tb, defect.twin_scenario, defect.twin)
    if twin.watch.broken:
        tb.say(play.lines(defect.twin_scenario, twin.watch.broken))
        raise Failure(f"the repaired twin of {defect.name} is accused")
    faulty = await play.on_both(tb, defect.scenario, defect.faulty)
    tb.say(play.lines(defect.scenario, faulty.watch.broken))
    caught = [each for each in faulty.watch.broken if each.property is defect.property]
    if not caught:
        raise Failure(f"{defect.name} is not caught: {defect.property.name} is not broken")
    first, at = caught[0], defect.scenario.symbol(caught[0].pc)
    if at != defect.at:
        raise Failure(f"{defect.name} is caught at {at}, and should be at {defect.at}")
    found = play.broken(faulty)
    if found != defect.breaks:
        expected = play.names(set(defect.breaks))
        raise Failure(f"{defect.name} breaks {play.names(found)}, and should break {expected}")
    tb.marked = first.cycle
    others = play.names(found - {defect.property})
    where = (at, str(first.run), f"{first.cycle:,}", "clean")
    row = (defect.name, defect.title, defect.scenario.name, defect.property.name, others, *where)
    tb.table(TITLE, HEADER, [row])


def _register() -> None:
    for defect in CATALOGUE:

        async def body(tb: CoreTestbench, defect: Defect = defect) -> None:
            await catch(tb, defect)

        source = f"KVM guest debug, {defect.property.name}: {defect.title}"
        register(f"catalogue.{defect.name}", body, source, bulk=True, design=CORE)


_register()
