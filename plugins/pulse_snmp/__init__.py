"""The SNMP channel: alerts as v2c or v3 notifications, traps or INFORMs.

config    what a customer fills in
channel   sending, and what the network and the receiver have to say
alert     a notification as the variables of OPSCONDUCTOR-PULSE-MIB
ber       the encoding, both ways
usm       SNMPv3 messages: keys, authentication, encryption (RFC 3414)
engine    who we are to a v3 receiver, and what time it is for us
informing INFORM and its answers

pysnmp lends the key derivation and the ciphers of :mod:`pulse_snmp.usm`, not its engine: one engine a channel
costs 80 ms of a blocked event loop and 1.5 MB to build, sends 405 (v2c) or 289 (v3) traps a second, keeps its
boot counter in a folder of /tmp that anybody may prepare, and wakes up twice a second for ever. What a sender of
one kind of notification needs of the protocol is short. pysnmp's engine is the tests' receiver instead, and
net-snmp's.
"""

from collections.abc import Iterable

from pulse_core.api import hookimpl
from pulse_snmp.channel import SnmpChannel


@hookimpl
def pulse_register_channels() -> Iterable[type[SnmpChannel]]:
    """Register the SNMP channel."""
    return (SnmpChannel,)
