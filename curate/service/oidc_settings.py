"""What settings say about signing in with an OpenID Connect provider.

oidc:
  issuer: https://id.example.org/realms/data
  client_id: curate
  client_secret: env:CURATE_OIDC_SECRET
  roles: {groups: {curate-admins: admin, data-team: operator}}
  allowed: {hd: [example.org]}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, field_validator

Role = Literal["viewer", "operator", "admin"]
ANY = "*"


class Oidc(BaseModel):
    """How people sign in with a provider.

    - `issuer`: the provider's address, as it names itself: https, or a loopback address.
    - `client_secret`: a reference, `env:NAME` or `file:PATH`; a public client has none.
    - `roles`: roles by claims and their values, of which the highest counts; the value `*` stands for any. `realm_access.roles` is a
      claim within a claim.
    - `allowed`: claims of which a person must have one of the values, whatever their role.
    - `name`: what the login page calls the provider.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: str
    client_id: str
    client_secret: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    roles: Mapping[str, Mapping[str, Role]]
    allowed: Mapping[str, tuple[str, ...]] = {}
    name: str = "single sign-on"

    @field_validator("client_secret")
    @classmethod
    def _is_reference(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("env:", "file:")):
            raise ValueError("a secret stands elsewhere: write `env:NAME` or `file:PATH`")
        return value

    @field_validator("scopes")
    @classmethod
    def _has_openid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("`openid` is one of the scopes")
        return value

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the role of a person with these claims, None for somebody who has none or is not allowed."""
        if not all(values_of(claims, claim) & set(values) for claim, values in self.allowed.items()):
            return None
        found = [
            role
            for claim, roles in self.roles.items()
            for value, role in roles.items()
            if (has := values_of(claims, claim)) and (value == ANY or value in has)
        ]
        return max(found, key=get_args(Role).index, default=None)


def values_of(claims: Mapping[str, Any], claim: str) -> set[str]:
    """Return the values of a claim, which is one or a list; an e-mail address counts only if the provider has verified it."""
    if claim == "email" and claims.get("email_verified") is not True:
        return set()
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for part in claim.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    given = found if isinstance(found, list) else [found]
    return {value for value in given if isinstance(value, str)}
