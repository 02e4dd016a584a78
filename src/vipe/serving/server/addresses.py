"""Which addresses a server may connect to when a user's URL asks it to: public ones alone.

What is checked is the address that is then connected to, not a name that could resolve to another
one a moment later; and every connection goes through here, also those of redirects.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpcore2

from vipe.errors import VideoError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Carry an IPv4 address in their last bits: NAT64 (RFC 6052).
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Tell whether an address is one of the open internet.

    Loopback, link-local, private, shared, multicast and reserved ones are not, nor IPv6 addresses
    that stand for such an IPv4 one.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(a.is_global and not a.is_multicast and not a.is_reserved for a in _meant(address))


def _meant(address: Address) -> list[Address]:
    """List an address with those that it carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    carried = [address.sixtofour, *(address.teredo or ())]
    return [address, *(a for a in carried if a is not None)]


class PublicOnly(httpcore2.AsyncNetworkBackend):
    """Connections to public addresses.

    Args:
        anywhere: Whether others are allowed, too.
    """

    def __init__(self, *, anywhere: bool = False) -> None:
        self._anywhere = anywhere
        self._inner = httpcore2.AnyIOBackend()
        # Of its own: a name that is slow to resolve must hold up nobody else's work.
        self._resolvers = ThreadPoolExecutor(thread_name_prefix="vipe-resolve")

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Resolve a host, check what comes, and connect to just that.

        Raises:
            VideoError: One of its addresses is not public.
            httpcore2.ConnectError: It has none, or none can be connected to.
        """
        loop = asyncio.get_running_loop()
        try:
            resolve = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await loop.run_in_executor(self._resolvers, resolve)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} cannot be resolved") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._anywhere and not all(map(is_public, addresses)):
            raise VideoError(f"{host} is not at a public address: it is not fetched from there")
        failed: Exception = httpcore2.ConnectError(f"{host} has no address")
        for address in addresses:
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
        raise failed

    async def sleep(self, seconds: float) -> None:
        """Wait, between two tries."""
        await self._inner.sleep(seconds)
