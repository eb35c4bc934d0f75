"""Which addresses are public: tables, and what no address may slip past."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.addresses import is_permitted, literal, parse_networks, shown
from pulse_core.errors import ConfigError, OutboundRefused
from support.hostile import NOT_PUBLIC, PUBLIC, UNUSUAL


@pytest.mark.parametrize("text", PUBLIC)
def test_public(text: str) -> None:
    assert is_permitted(ip_address(text))


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_not_public(text: str) -> None:
    assert not is_permitted(ip_address(text))


def test_a_teredo_address_is_judged_by_its_server_and_its_client() -> None:
    assert is_permitted(ip_address("2001:0:808:808:0:ffff:f7f7:f7f7"))  # 8.8.8.8 and 8.8.8.8
    assert not is_permitted(ip_address("2001:0:808:808:0:ffff:5601:5601"))  # the client: 169.254.169.254


@given(st.ip_addresses(v=4))
def test_no_notation_makes_an_ipv4_address_more_public(inner: IPv4Address) -> None:
    value = int(inner)
    disguises = {
        "mapped": 0xFFFF << 32 | value,
        "compatible": value,
        "translated": 0xFFFF << 48 | value,
        "NAT64": int(IPv6Address("64:ff9b::")) | value,
        "6to4": 0x2002 << 112 | value << 80 | 1,
        "Teredo, client": 0x2001 << 112 | 0x08080808 << 64 | value ^ 0xFFFFFFFF,
        "Teredo, server": 0x2001 << 112 | value << 64 | 0x08080808 ^ 0xFFFFFFFF,
        "ISATAP": int(IPv6Address("2001:4860:4860::")) | 0x5EFE << 32 | value,
    }
    for name, disguised in disguises.items():
        assert not is_permitted(IPv6Address(disguised)) or is_permitted(inner), name


@given(st.ip_addresses(v=4))
def test_the_judgement_is_never_laxer_than_the_standard_library(address: IPv4Address) -> None:
    if is_permitted(address):
        assert address.is_global
        assert not address.is_multicast


@given(st.ip_addresses(v=6))
def test_public_ipv6_is_global_unicast(address: IPv6Address) -> None:
    mapped = IPv6Network("::ffff:0:0/96")
    if is_permitted(address) and address not in mapped and address not in IPv6Network("64:ff9b::/96"):
        assert address in IPv6Network("2000::/3")


@given(
    st.sampled_from([48, 56, 64, 96]),
    st.sampled_from(["10.0.0.1", "127.0.0.1", "169.254.169.254", "192.168.7.8", "100.64.0.8"]),
)
def test_the_local_nat64_prefix_hides_nothing_even_when_allowed(length: int, inner: str) -> None:
    """RFC 6052, 2.2: between /48 and /64 the address is split around bits 64 to 71."""
    value = int(IPv4Address(inner))
    bits = f"{value:032b}"
    head = f"{int(IPv6Address('64:ff9b:1::')):0128b}"[:length]
    split = head + bits[: 64 - length] + "0" * 8 + bits[64 - length :] if length < 96 else head + bits
    address = IPv6Address(int(split.ljust(128, "0"), 2))
    allow = parse_networks(["64:ff9b:1::/48"])
    assert not is_permitted(address, allow)
    if length == 96:  # of the shorter ones several readings may fit, and every one must be permitted
        assert is_permitted(address, (*allow, *parse_networks([inner])))


def test_the_operator_can_allow_loopback_and_nothing_else_with_it() -> None:
    allow = parse_networks(["::1/128"])
    assert is_permitted(ip_address("::1"), allow)
    assert not is_permitted(ip_address("::1"))
    for other in ("::", "::2", "::7f00:1", "::ffff:127.0.0.1", "::ffff:0.0.0.1", "127.0.0.1"):
        assert not is_permitted(ip_address(other), allow), other


def test_the_operator_allows_networks_not_what_hides_in_them() -> None:
    allow = parse_networks(["10.1.0.0/16", "fd00::/8"])
    assert is_permitted(ip_address("10.1.2.3"), allow)
    assert is_permitted(ip_address("::ffff:10.1.2.3"), allow)
    assert is_permitted(ip_address("64:ff9b::10.1.2.3"), allow)
    assert is_permitted(ip_address("fd00::1"), allow)
    assert not is_permitted(ip_address("10.2.0.1"), allow)
    assert not is_permitted(ip_address("::ffff:10.2.0.1"), allow)
    everything = parse_networks(["::/0"])
    assert not is_permitted(ip_address("2002:a9fe:a9fe::1"), everything)
    assert not is_permitted(ip_address("::ffff:169.254.169.254"), everything)


@pytest.mark.parametrize("text", ["10.0.0.0/33", "internal", "10.0.0.1/8", "", "::/129"])
def test_a_wrong_network_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match=r"outbound\.allow"):
        parse_networks([text])


@pytest.mark.parametrize(
    ("host", "address"),
    [("8.8.8.8", "8.8.8.8"), ("::1", "::1"), ("[::1]", "::1"), ("2001:DB8::1", "2001:db8::1")],
)
def test_an_address_in_its_usual_notation(host: str, address: str) -> None:
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize(
    "host",
    ["example.com", "example.com.", "a", "x_y.example", "xn--bcher-kva.example", "0x.example", "1.2.3.4.example"],
)
def test_a_name_is_to_be_looked_up(host: str) -> None:
    assert literal(host) is None


@pytest.mark.parametrize("host", UNUSUAL, ids=ascii)
def test_an_unusual_notation_is_refused(host: str) -> None:
    with pytest.raises(OutboundRefused):
        literal(host)


@given(st.text(max_size=40))
def test_any_text_is_an_address_a_name_or_refused(host: str) -> None:
    try:
        address = literal(host)
    except OutboundRefused:
        return
    assert host.isascii()
    assert address is not None or not host.removesuffix(".").rsplit(".", 1)[-1].isdigit()


def test_a_shown_host_is_short_and_one_line() -> None:
    assert shown("a\r\nb") == r"'a\r\nb'"
    assert len(shown("x" * 5000)) < 120
