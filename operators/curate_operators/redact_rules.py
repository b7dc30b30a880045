"""Rules for e-mail and IP addresses, credit cards, IBANs and US social security numbers: a shape, then a proof.

Patterns read UTF-8 bytes and begin and end with ASCII characters or whole letters, so no character is cut.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator

from curate_operators.redact_windows import Window

Found = Iterator[tuple[int, int]]

# Letters of two UTF-8 bytes (Latin, Greek, Cyrillic) belong to an address; Chinese and others are written up to it.
_LETTER = rb"(?:[A-Za-z0-9]|[\xc3-\xd4][\x80-\xbf])"
_LABEL = rb"(?:" + _LETTER + rb"(?:(?:" + _LETTER + rb"|-){0,61}" + _LETTER + rb")?)"
_DOMAIN = re.compile(
    rb"(?:" + _LABEL + rb"\.)+(?:xn--[a-z0-9\-]{2,59}|(?:[A-Za-z]|[\xc3-\xd4][\x80-\xbf]){2,24})(?![A-Za-z0-9_@])(?!-[A-Za-z0-9])"
)
_LOCAL_BYTES = bytes([*b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.%+-", *range(0x80, 0xC0), *range(0xC3, 0xD5)])
# What may stand in an address but not first, and the last bytes of a longer character, which is none of its letters.
_NOT_FIRST = bytes([*b".-+%", *range(0x80, 0xC0)])
MAX_LOCAL_BYTES = 64
MAX_CUE_BYTES = 48
EMAIL_MARGINS = (MAX_LOCAL_BYTES + MAX_CUE_BYTES + 2, 300)
# A name and password in a web address: what follows is the password and the host.
_PASSWORD = re.compile(rb"://[^\s/@:]{0,40}:[^\s/@,;|<>()\"']{0,40}$")
# RFC 2606 and RFC 6761: nobody's address, hence also what a masked one may be replaced with.
_NOBODY = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net|edu)|example|test|invalid|localhost)$")
_FILES = frozenset(
    (
        "avif",
        "bmp",
        "css",
        "gif",
        "htm",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "json",
        "mp3",
        "mp4",
        "pdf",
        "php",
        "png",
        "service",
        "svg",
        "txt",
        "webp",
        "xml",
    )
)


def emails(window: Window) -> Found:
    """E-mail addresses, except those of nobody (`example.com`), files and units (`icon@2x.png`), `git@` and passwords in web addresses."""
    text = window.text
    at = text.find(b"@", window.first)
    while at >= 0:
        local = _local_part(text[max(0, at - MAX_LOCAL_BYTES - 1) : at])
        match = _DOMAIN.match(text, at + 1) if local else None
        is_whole = match and not (window.is_cut and match.end() == len(text))
        if match and is_whole and _is_someones_host(match[0]) and not _ends_with(_PASSWORD, text, at - len(local)):
            yield at - len(local), match.end()
        at = text.find(b"@", at + 1)


def _local_part(before: bytes) -> bytes:
    """Return the part of an address that stands at the end of what is before an `@`, empty for none."""
    local = before[len(before.rstrip(_LOCAL_BYTES)) :].rpartition(b"..")[2].lstrip(_NOT_FIRST)
    return b"" if local == b"git" or len(local) > MAX_LOCAL_BYTES else local


@functools.lru_cache(maxsize=65536)
def _is_someones_host(name: bytes) -> bool:
    host = name.decode("utf-8", "replace").lower()
    return not _NOBODY.search(host) and host.rpartition(".")[2] not in _FILES


_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(rb"(?<![A-Za-z0-9_.\-])(?<![A-Za-z0-9]/)(?:" + _OCTET + rb"\.){3}" + _OCTET + rb"(?![A-Za-z0-9_]|\.[0-9]|-[A-Za-z0-9])")
IPV6 = re.compile(rb"(?<![A-Za-z0-9_:.])[0-9A-Fa-f]{1,4}(?::{1,2}[0-9A-Fa-f]{1,4}){2,7}(?:::)?(?![A-Za-z0-9_:]|\.[0-9])")
_VERSION = re.compile(rb"(?i)(?:\bversions?|\bver\.?|\brelease|\brev\.?|\bbuild|\bfirmware|\bv\.?|\bOID:?)[ :=(\"']{0,3}$")
# What tells a short address from a section; `<IP>` is no such word, or a second pass would find more.
_IP_CUE = re.compile(rb"(?:(?i:https?)://|(?<![A-Za-z0-9_])(?i:IP)(?:v4)?(?![A-Za-z0-9_>\]}])[^0-9\n]{0,16})$")
_PORT = re.compile(rb":[0-9]{2,5}(?![0-9A-Za-z_:.])")
_HOST_GOES_ON = re.compile(rb"\.[A-Za-z]")
MIN_IPV4_DIGITS = 7
MAX_GROUP_BYTES = 4
# Before: a word that says what follows. Behind: three digits, a port and what may not follow it.
IPV4_MARGINS = (64, 16)


def ipv4(window: Window, public_only: bool) -> Found:
    """IPv4 addresses that no version word or product name precedes; of fewer than 7 digits only where the text says what they are."""
    for match in window.matches(IPV4, MAX_GROUP_BYTES):
        enough = len(match[0]) >= MIN_IPV4_DIGITS + 3 or _is_called_ip(window.text, *match.span())
        if enough and is_someones_ip(match[0], public_only) and not _ends_with(_VERSION, window.text, match.start()):
            yield match.span()


def _is_called_ip(text: bytes, start: int, end: int) -> bool:
    """Tell whether `http://` or the word IP stands before an address, or a port behind it (`3.10.2.1` may be a section)."""
    return bool(_PORT.match(text, end) or _ends_with(_IP_CUE, text, start)) and not _HOST_GOES_ON.match(text, end)


def _ends_with(cue: re.Pattern[bytes], text: bytes, end: int) -> bool:
    """Tell whether a text up to a place ends with a cue; cues are at most 48 bytes long."""
    return cue.search(text, max(0, end - MAX_CUE_BYTES), end) is not None


def ipv6(window: Window, public_only: bool) -> Found:
    """IPv6 addresses of at least three groups."""
    for match in window.matches(IPV6, MAX_GROUP_BYTES):
        if is_someones_ip(match[0], public_only):
            yield match.span()


@functools.lru_cache(maxsize=65536)
def is_someones_ip(address: bytes, public_only: bool) -> bool:
    """Tell whether it is an address, not of the ranges for documentation and, if asked, one of the public internet."""
    try:
        ip = ipaddress.ip_address(address.decode())
    except ValueError:
        return False
    if any(ip in network for network in _documentation()):
        return False
    if not public_only:
        return not (ip.is_unspecified or ip.is_loopback)
    return ip.is_global and not ip.is_multicast and (ip.version == 4 or ip in ipaddress.ip_network("2000::/3"))


@functools.cache
def _documentation() -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    names = ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
    return tuple(map(ipaddress.ip_network, names))


# Groups as printed on cards: 4-4-4-4(-3), 4-6-5, 4-6-4, or none; one kind of separator.
_GROUPED = rb"[0-9]{4}([ \-])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{3})?|[0-9]{4}([ \-])[0-9]{6}\2[0-9]{4,5}"
CARD = re.compile(
    rb"(?<![A-Za-z0-9_.,\-+/])(?<![0-9][ ])(?:[0-9]{12,19}|" + _GROUPED + rb")"
    rb"(?![A-Za-z0-9_]|[.,\-][0-9]|[ ][0-9]{4}(?![0-9]))"
)
# Issuers and the lengths of their numbers, as the issuers publish them.
_ISSUERS = re.compile(
    r"4(?:.{12}|.{15}|.{18})|(?:5[1-5]|222[1-9]|22[3-9].|2[3-6]..|27[01].|2720).{12,14}|3[47].{13}|3(?:0[0-5]|[689].).{11}"
    r"|6(?:011|5..|4[4-9].).{12,15}|35.{14}|(?:2131|1800).{11}|62.{14,17}|(?:50|5[6-8]|6304|6759|676[1-3]).{8,17}"
)


def credit_cards(window: Window) -> Found:
    """Credit card numbers of known issuers whose check digit (Luhn) is right."""
    for match in window.matches(CARD):
        number = match[0].replace(b" ", b"").replace(b"-", b"").decode()
        if _ISSUERS.fullmatch(number) and passes_luhn(number):
            yield match.span()


def passes_luhn(number: str) -> bool:
    """Tell whether the last digit of a card's number is the check digit of the others (ISO/IEC 7812-1)."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in number[-2::-2])
    return (doubled + sum(map(int, number[-1::-2]))) % 10 == 0


IBAN = re.compile(rb"(?<![A-Za-z0-9_])([A-Za-z]{2}[0-9]{2}(?:[ \-]?[A-Za-z0-9]{4}){2,7}(?:[ \-]?[A-Za-z0-9]{1,3})?)(?![A-Za-z0-9_])")
# Lengths as in the SWIFT registry of IBANs.
IBAN_LENGTHS = {
    country: length
    for length, countries in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ TL OM SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR GR IT MC MR SM", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA",
        30: "JO KW MU YE", 31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for country in countries.split()
}  # fmt: skip


# `GB49 AHER `: the country, check digits and letters before the first long group of digits.
MAX_IBAN_HEAD_BYTES = 12


def ibans(window: Window) -> Found:
    """International bank account numbers of the length of their country whose remainder by 97 is 1 (ISO 13616)."""
    for match in window.matches(IBAN, MAX_IBAN_HEAD_BYTES, len(window.text)):
        words = re.split(rb"[ \-]", match[0])
        # A word of the sentence may follow: `… 7006 and`.
        for count in range(len(words), 0, -1):
            text = b" ".join(words[:count])
            if is_iban(text.replace(b" ", b"").decode().upper()):
                yield match.start(), match.start() + len(text)
                break


def is_iban(account: str) -> bool:
    """Tell whether the check digits of an account number without spaces are right."""
    if IBAN_LENGTHS.get(account[:2]) != len(account):
        return False
    return int("".join(str(int(c, 36)) for c in account[4:] + account[:4])) % 97 == 1


_SSN = rb"(?!000|666|9)[0-9]{3}([ \-])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}"
SSN = re.compile(rb"(?<![A-Za-z0-9_.,+/\-])(?<![0-9] )" + _SSN + rb"(?![A-Za-z0-9_]|[.,\-/ ][0-9])")
_SSN_CUE = re.compile(rb"(?i)\b(?:ssn|ss ?(?:#|no|num|number)|social security|soc\.? sec|tax ?id|tin|itin)(?![A-Za-z0-9_])[^0-9\n]{0,24}$")
# What numbers of the same shape are called; `number` alone says nothing.
_OTHER = rb"part|item|model|order|serial|product|catalog(?:ue)?|invoice|case|ticket|lot|sku|batch|file|ref(?:erence)?|tracking|p/n|s/n"
_NO_SSN = re.compile(rb"(?i)(?<![A-Za-z0-9_])(?:(?:" + _OTHER + rb")\.?[ ]?(?:nos?\b\.?|num(?:ber)?\b\.?|code|id|#)?|nos?\.)[ :=#(]{0,3}$")


def us_ssns(window: Window) -> Found:
    """US social security numbers as 3-2-4 digits of numbers that can be given out; with spaces only after the words.

    What is called part, order, `no.` … stays, unless the words say that it is one.
    """
    for match in window.matches(SSN):
        is_called = _ends_with(_SSN_CUE, window.text, match.start())
        if is_called or (match[1] == b"-" and not _ends_with(_NO_SSN, window.text, match.start())):
            yield match.span()
