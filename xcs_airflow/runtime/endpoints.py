"""Which addresses may be an endpoint: none at which a cloud hands out credentials to whoever asks.

It knows addresses; it resolves no names and opens nothing.
"""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache
from urllib.parse import urlsplit

# 169.254.0.0/16 and fe80::/10 are link-local: every cloud's metadata service lives there. Those that live elsewhere too: AWS
# (docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html, and the container credentials of EKS), Google
# (cloud.google.com/compute/docs/metadata/querying-metadata), Alibaba (alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata).
_METADATA_NAMES = frozenset({"metadata", "metadata.goog", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_METADATA_NETWORKS = tuple(ipaddress.ip_network(text) for text in ("fd00:ec2::/32", "fd20:ce::/32", "100.100.100.200/32"))


@lru_cache
def is_metadata(host: str) -> bool:
    """Whether a host is link-local or a cloud's metadata service, in whatever way its address is written.

    Args:
        host: A name, or an address as text, without brackets.
    """
    name = host.rstrip(".").lower()
    if name in _METADATA_NAMES:
        return True
    address = _address(name)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_link_local or any(address in network for network in _METADATA_NETWORKS)


def why_not(endpoint: str, *, allow_link_local: bool = False) -> str | None:
    """Why an address cannot be an endpoint; None when it can.

    Args:
        endpoint: `http://` or `https://`, host, and perhaps port and path.
        allow_link_local: Whether the operator wants it all the same.
    """
    try:
        parts = urlsplit(endpoint)
        host = parts.hostname
        parts.port  # noqa: B018  # it is checked when it is read
    except ValueError as error:
        return str(error)
    if not host:
        return "it names no host"
    if "@" in parts.netloc or parts.query or parts.fragment:
        return "it is more than scheme, host, port and path; a key belongs into the variable that key_env names"
    if is_metadata(host) and not allow_link_local:
        return f"{host} is link-local or a cloud's metadata service; allow_link_local takes it all the same"
    return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address that a name spells; None when it is a name. Resolvers also take 2852039166 and 0xA9FEA9FE for one."""
    try:
        return ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(name))
    except (OSError, UnicodeError):
        return None
