"""Which addresses a server connects to for others."""

from __future__ import annotations

import pytest

from vipe.serving.server.addresses import is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "::1", "0.0.0.0", "::",
        "169.254.169.254", "fe80::1", "fe80::1%eth0",
        "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
        "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "ff02::1", "2001:db8::1",
        # These stand for an IPv4 address.
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::",
        "::127.0.0.1",
        "", "localhost", "1.2.3",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1",
                "64:ff9b::101:101"]
)  # fmt: skip
def test_addresses_that_are(address: str) -> None:
    assert is_public(address)
