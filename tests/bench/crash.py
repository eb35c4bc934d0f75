"""Kill -9 under load, at full size."""

from __future__ import annotations

from bench.figures import Bench, Figure, say
from support.chaos import THRESHOLD_S, experiment
from support.delivery_chaos import experiment as delivery_experiment
from support.product import Product

KILLS = ("pipeline", "postgres") * 5
WAYS = ((1, 4), (2, 4), (1, 5), (2, 5))
NAMES = {4: "MQTT 3.1.1", 5: "MQTT 5"}


def crash(bench: Bench) -> list[Figure]:
    """Five kills each of the pipeline and of PostgreSQL under load, against the generator's fsynced ledger."""
    outcomes = {}
    for name, kills in (("no kills", ()), ("kills", KILLS)):
        say(f"crash: {name}")
        product = Product(bench.fresh_folder())
        try:
            product.start()
            outcomes[name] = experiment(
                product, bench.fresh_folder(), kills=kills, load_devices=48, watched=20, rate=4000.0, ways=WAYS
            )
        finally:
            product.stop()
    calm, killed = outcomes["no kills"], outcomes["kills"]
    verdict = killed.verdict
    ways = ", ".join(f"{one.acknowledged:,} at QoS {qos} of {NAMES[v]}" for (qos, v), one in killed.verdicts.items())
    return [
        Figure(
            "5 kills (-9) each of the pipeline and of PostgreSQL under load",
            f"{len(verdict.lost)} lost, {len(verdict.doubled)} visible twice of {verdict.acknowledged:,} acknowledged "
            f"({ways}); "
            f"alerts {'the same' if killed.alerts == calm.alerts else 'differ'} (threshold {THRESHOLD_S:g} s)",
            "0 lost, 0 twice, the same alerts as without kills",
            verdict.holds and killed.alerts == calm.alerts,
            f"{calm.alerts.total()} alerts without kills",
        )
    ]


def chaos(bench: Bench) -> list[Figure]:
    """Transitions of alerts told over four channels, while two deliver processes are killed at random."""
    alerts, kills = (5000, 40) if bench.full else (1500, 12)
    say(f"chaos: {2 * alerts:,} transitions x 4 channels, {kills} kills")
    verdict = delivery_experiment(bench.fresh_folder(), alerts=alerts, kills=kills, every_s=(1.0, 3.0))
    return [
        Figure(
            f"{2 * alerts:,} transitions x 4 channels, deliver processes killed (-9) {kills} times",
            f"{len(verdict.lost)} of {verdict.transitions:,} lost ({verdict.told_by_closed:,} told by their CLOSED); "
            f"{verdict.repeated} came again, {len(verdict.unexplained)} of them without a lost attempt in the ledger",
            "0 lost; again only where a process died between sending and recording",
            verdict.holds,
        )
    ]
