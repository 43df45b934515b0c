"""Which proxy a service is asked through, by the environment's HTTP_PROXY, ALL_PROXY, NO_PROXY."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from urllib.request import getproxies

import httpx

PORTS = {"http": 80, "https": 443}


def proxy_of(url: httpx.URL) -> tuple[str, str]:
    """Return the variable that names the proxy of an address, and the proxy; "" for none."""
    proxies = getproxies()
    scheme = next((name for name in (url.scheme, "all") if proxies.get(name)), "")
    if not scheme or is_direct(url, proxies.get("no", "")):
        return "", ""
    proxy = proxies[scheme]
    return f"{scheme.upper()}_PROXY", proxy if "://" in proxy else f"http://{proxy}"


def is_direct(url: httpx.URL, no_proxy: str) -> bool:
    """Return whether NO_PROXY lists the host of an address.

    An entry is a host (its subdomains are meant too), an IPv4 or IPv6 address with or without
    brackets, a network such as ``10.0.0.0/8``, each with a port or without, or ``*``.
    """
    port = url.port or PORTS.get(url.scheme)
    for entry in re.split(r"[\s,]+", no_proxy.lower()):
        entry = entry.rpartition("://")[2]
        if with_port := re.fullmatch(r"(\[.*\]|[^:]*):(\d+)", entry):
            entry = with_port[1]
            if int(with_port[2]) != port:
                continue
        name = re.sub(r"[\[\]]", "", entry)
        if name == "*" or _is_in(url.host, name):
            return True
        name = name.removeprefix("*").removeprefix(".")
        if name and (url.host == name or url.host.endswith(f".{name}")):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    try:
        return ip_address(host) in ip_network(network, strict=False)
    except ValueError:  # one of them is a name
        return False
