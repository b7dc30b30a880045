"""Network policies as a cluster enforces them: may this pod reach that one?"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

from tests.deploy.manifests import Manifest, Pod

Peer = Pod | str
"""A pod of the namespace, or the address of something outside the cluster."""


def may_reach(policies: list[Manifest], source: Peer, target: Peer, port: int, protocol: str = "TCP") -> bool:
    """Tell whether the source's policies let it out, and the target's let it in."""
    out = isinstance(source, str) or _lets(policies, "Egress", source, target, (port, protocol))
    return out and (isinstance(target, str) or _lets(policies, "Ingress", target, source, (port, protocol)))


def _lets(policies: list[Manifest], way: str, pod: Pod, peer: Peer, port: tuple[int, str]) -> bool:
    """A pod that no policy selects is free; one that some select may do whatever any of these says."""
    selecting = [p["spec"] for p in policies if way in p["spec"]["policyTypes"] and _matches(p["spec"]["podSelector"], pod.labels)]
    rules = [rule for spec in selecting for rule in spec.get(way.lower(), [])]
    side = "to" if way == "Egress" else "from"
    return not selecting or any(_port_fits(rule.get("ports"), port) and _peer_fits(rule.get(side), peer) for rule in rules)


def _port_fits(ports: Iterable[Mapping[str, Any]] | None, port: tuple[int, str]) -> bool:
    return ports is None or any((entry["port"], entry["protocol"]) == port for entry in ports)


def _peer_fits(peers: Iterable[Mapping[str, Any]] | None, peer: Peer) -> bool:
    return peers is None or any(_fits(entry, peer) for entry in peers)


def _fits(entry: Mapping[str, Any], peer: Peer) -> bool:
    if isinstance(peer, Pod):
        return "podSelector" in entry and "namespaceSelector" not in entry and _matches(entry["podSelector"], peer.labels)
    if "ipBlock" not in entry:
        return False
    address, block = ipaddress.ip_address(peer), entry["ipBlock"]
    inside = [address in ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", []))]
    return inside[0] and not any(inside[1:])


def _matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _expression_fits(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _expression_fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    match expression["operator"]:
        case "Exists":
            return expression["key"] in labels
        case "In":
            return labels.get(expression["key"]) in expression["values"]
        case other:
            raise ValueError(f"no policy of ours uses {other}")
