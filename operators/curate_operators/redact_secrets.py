"""Rules for keys that open something: tokens with a vendor's mark, private key blocks, JSON Web Tokens, passwords in code.

They begin with fixed letters, so one regular expression in Rust over the batch finds the few documents that have any.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator

Found = Iterator[tuple[int, int]]

# Shapes as their vendors document them; GitHub's, AWS's and Slack's as in their secret scanning partner pages.
_MARKED = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",  # AWS access key id
    r"gh[pousr]_[A-Za-z0-9]{36,255}",  # GitHub
    r"github_pat_[A-Za-z0-9_]{60,255}",
    r"glpat-[A-Za-z0-9_\-]{20,64}",  # GitLab
    r"xox[abeoprs]-[A-Za-z0-9\-]{10,250}",  # Slack
    r"hooks\.slack\.com/services/T[A-Za-z0-9_]{6,12}/B[A-Za-z0-9_]{6,12}/[A-Za-z0-9_]{16,32}",
    r"AIza[A-Za-z0-9_\-]{35}",  # Google API
    r"GOCSPX-[A-Za-z0-9_\-]{28}",  # Google OAuth client
    r"[sr]k_live_[A-Za-z0-9]{16,247}",  # Stripe
    r"sk-(?:proj-|ant-[a-z0-9]{3,8}-)[A-Za-z0-9_\-]{32,200}",  # OpenAI, Anthropic
    r"sk-[A-Za-z0-9]{48}",
    r"hf_[A-Za-z]{34}",  # Hugging Face
    r"npm_[A-Za-z0-9]{36}",
    r"pypi-AgE[A-Za-z0-9_\-]{50,250}",
    r"SG\.[A-Za-z0-9_\-]{22}\.[A-Za-z0-9_\-]{43}",  # SendGrid
    r"eyJ[A-Za-z0-9_\-]{10,2000}\.eyJ[A-Za-z0-9_\-]{10,4000}\.[A-Za-z0-9_\-]{20,1000}",  # JSON Web Token
)
_AWS_PAIR = r"(?i:aws_?secret(?:_?access)?_?key)[\"']?[ ]{0,3}(?:=>|=|:)[ ]{0,3}[\"']?([A-Za-z0-9/+]{40})"
_BLOCK = r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
# Of a web address; what stands for a password in manuals is none: `user:password@`, `$USER:$PASS@`, `<user>:***@`.
_IN_ADDRESS = r"://([^\s/@:\"'<>$*{}\[\]]{0,40}:[^\s/@:\"'<>$*{}\[\]]{1,128})@[A-Za-z0-9\[]"
_PLACEHOLDER = re.compile(rb"(?i).*:(?:.?pass(?:w(?:or)?d)?|pw|pwd|secret|token|key|x+|\.+|%[sd]|my.?pass(?:word)?|your.*)")
_NAMED = (
    r"(?i:api_?key|secret|token|passw(?:or)?d|pwd|credential|auth)[A-Za-z_]{0,20}[\"']?[ ]{0,3}(?:=>|=|:)[ ]{0,3}"
    r"[\"']([^ \t\r\n\"'<>]{16,200})[\"']"
)
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_COINS = (r"[13][1-9A-HJ-NP-Za-km-z]{25,34}", r"bc1[ac-hj-np-z02-9]{11,71}", r"0x[0-9a-fA-F]{40}")

_SECRET = re.compile(
    (rf"(?<![A-Za-z0-9_])(?:{'|'.join(_MARKED)})(?![A-Za-z0-9_])|{_AWS_PAIR}(?![A-Za-z0-9/+=])|{_IN_ADDRESS}|").encode()
    + (_BLOCK + r"(?:(?!-----BEGIN)[\s\S]){64,20000}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----").encode()
)
_TOKEN = re.compile(_NAMED.encode())
_CRYPTO = re.compile(rf"(?<![A-Za-z0-9_/])(?:{'|'.join(_COINS)})(?![A-Za-z0-9_])".encode())
# What a document must contain to be read by the rules above; Rust's syntax, in which `\b` alone would take Chinese for a part of the word.
SIGNS = {
    "secret": rf"(?-u:\b)(?:{'|'.join(_MARKED)})|{_AWS_PAIR}|{_BLOCK}|{_IN_ADDRESS}",
    "token": _NAMED,
    "crypto": rf"(?-u:\b)(?:{'|'.join(_COINS)})",
}
MIN_TOKEN_BITS = 3.5
MIN_DIFFERENT = 8  # characters of an address; `0xffff…` is a mask


def secrets(text: bytes) -> Found:
    """Keys with a vendor's mark, AWS secret keys after their name, names with passwords in web addresses, whole private key blocks."""
    for match in _SECRET.finditer(text):
        group = match.lastindex or 0
        if not _PLACEHOLDER.fullmatch(match[group]):
            yield match.span(group)


def tokens(text: bytes) -> Found:
    """Quoted values given to a name such as `api_key` that mix letters and digits and look random."""
    for match in _TOKEN.finditer(text):
        value = match[1]
        if re.search(rb"[0-9]", value) and re.search(rb"[A-Za-z]", value) and bits_per_character(value) >= MIN_TOKEN_BITS:
            yield match.span(1)


def crypto_addresses(text: bytes) -> Found:
    """Bitcoin addresses whose checksum is right (the older kind) and Ethereum addresses."""
    for match in _CRYPTO.finditer(text):
        is_old = match[0].startswith((b"1", b"3"))
        if is_base58check(match[0].decode()) if is_old else len(set(match[0])) > MIN_DIFFERENT:
            yield match.span()


def bits_per_character(value: bytes) -> float:
    """Return Shannon's entropy of the characters of a string."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares)


def is_base58check(address: str) -> bool:
    """Tell whether the last four of an address's 25 bytes are the double SHA-256 of the others."""
    number = 0
    for character in address:
        number = number * 58 + _BASE58.index(character)
    if number >> 200:
        return False
    payload = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(payload[:-4]).digest()).digest()[:4] == payload[-4:]


RULES: dict[str, Callable[[bytes], Found]] = {"secret": secrets, "token": tokens, "crypto": crypto_addresses}
