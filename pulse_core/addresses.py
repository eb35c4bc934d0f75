"""Is this address public? A pure judgement, stricter than ``ipaddress.is_global``.

An IPv6 address can carry an IPv4 one (NAT64, 6to4, Teredo, IPv4-mapped, ISATAP …), and a gateway on the way
would deliver to what is inside. So every layer must be public, or in a network that the operator allows.
"""

from __future__ import annotations

import re
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError, OutboundRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IANA's IPv4 special-purpose registry, multicast and class E, and what clouds put on public-looking
# addresses.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # the host of every Azure machine
        "169.254.0.0/16",  # link local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

# All that is public in IPv6 lies in 2000::/3; the well-known NAT64 prefix is as public as what it carries.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_PROTOCOLS = IPv6Network("2001::/23")
_NOT_PUBLIC_V6 = (IPv6Network("2001:db8::/32"), IPv6Network("3fff::/20"))  # documentation

_RFC6052_LENGTHS = (48, 56, 64, 96)
_LOW_32 = 0xFFFF_FFFF
_LOOPBACK = 1
_ISATAP = 0x0000_5EFE
_ISATAP_UNIVERSAL_BIT = 0x0200_0000

_NUMBER = re.compile(r"(?:[0-9]+|0[xX][0-9a-fA-F]*)\Z")
_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})\Z")


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read the operator's allowed networks. Raises ConfigError that names the wrong one."""
    networks = []
    for text in texts:
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise ConfigError(f"outbound.allow: {text!r} is not a network like 10.1.0.0/16: {error}") from error
    return tuple(networks)


def is_permitted(address: Address, allow: Sequence[Network] = ()) -> bool:
    """Tell whether a connection to ``address`` may be made: every layer of it is public or in ``allow``."""
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return False
    return all(_is_public(layer) or _is_allowed(layer, allow) for layer in _layers(address))


def literal(host: str) -> Address | None:
    """Read a host that is written as an address; None if it is a name to be looked up.

    Only the usual notation is an address. Whatever else ends in a number (``2130706433``, ``0177.0.0.1``,
    ``0x7f.1``, ``127.1``) would be read as IPv4 by some part of the way and not by another (WHATWG URL, "ends
    in a number"), so it is refused.

    :raises OutboundRefused: for such a host, for a zone id, and for what is neither an address nor a name.
    """
    text = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        address = ip_address(text)
    except ValueError:
        address = None
    if address is not None and "%" not in text:
        return address
    labels = host.removesuffix(".").split(".")
    if not _NAME.match(host) or _NUMBER.match(labels[-1]) or not all(labels):
        raise OutboundRefused(f"{shown(host)} is neither a host name nor an address in its usual notation")
    return None


def shown(host: str) -> str:
    """Return the host as it may stand in a message: quoted, one line, not endless."""
    return ascii(host if len(host) <= 100 else host[:100] + "…")  # noqa: PLR2004 - for people


def _is_allowed(address: Address, allow: Sequence[Network]) -> bool:
    return any(address.version == network.version and address in network for network in allow)


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if address in _NAT64 or address in _TEREDO:
        return True
    if address not in _GLOBAL_UNICAST or address in _PROTOCOLS:
        return False
    return not any(address in network for network in _NOT_PUBLIC_V6)


def _layers(address: Address) -> Iterator[Address]:
    """Yield the address and every IPv4 address that it carries.

    An IPv4-mapped address is only a notation of the IPv4 one (RFC 4291, 2.5.5.2), so there that is all it is.
    """
    if isinstance(address, IPv4Address) or address not in _MAPPED:
        yield address
    if isinstance(address, IPv6Address):
        yield from _carried(address)


def _carried(address: IPv6Address) -> Iterator[IPv4Address]:
    value = int(address)
    if value == _LOOPBACK:
        return  # ::1 is in the range of the IPv4-compatible ones, but none of them (RFC 4291, 2.5.5.1)
    if any(address in network for network in (_MAPPED, _COMPATIBLE, _TRANSLATED, _NAT64)):
        yield IPv4Address(value & _LOW_32)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(value >> 80 & _LOW_32)
    elif address in _TEREDO:
        yield IPv4Address(value >> 64 & _LOW_32)  # the Teredo server
        yield IPv4Address(~value & _LOW_32)  # the client behind it (RFC 4380, 4)
    elif address in _NAT64_LOCAL:
        yield from _rfc6052(value)
    if value >> 32 & _LOW_32 & ~_ISATAP_UNIVERSAL_BIT == _ISATAP:
        yield IPv4Address(value & _LOW_32)  # RFC 5214, 6.1


def _rfc6052(value: int) -> Iterator[IPv4Address]:
    """Yield what each prefix length of RFC 6052, 2.2 reads, if what is left over is zero, as it must be.

    From /48 to /64 the IPv4 address is split around bits 64 to 71, which are zero.
    """
    for length in _RFC6052_LENGTHS:
        rest = value & ((1 << (128 - length)) - 1)
        if length <= 64:  # noqa: PLR2004 - the bit of RFC 6052
            before = 64 - length
            high = rest >> 64
            low = rest & ((1 << 56) - 1)
            tail = 56 - (32 - before)
            if low & ((1 << tail) - 1) == 0 and rest >> 56 & 0xFF == 0:
                yield IPv4Address(high << (32 - before) | low >> tail)
        else:
            yield IPv4Address(rest)
