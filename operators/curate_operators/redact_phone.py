"""Rules for telephone numbers: a shape that only they have, or any shape next to a word such as *phone*.

Shapes that stand for themselves:

- `+`, a calling code that exists and 8 to 15 digits in all: `+46 (0)8 928 571 38`; or `00` in its place, in groups;
- North America, 3-3-4 digits, area and exchange from 200 and not N11: `(212) 555-0187 x12`, `212-555-0187`, `212.555.0187`;
- a trunk zero and 10 or 11 digits: in pairs `01 84 17 61 18`, in three or more groups `0680 298 70 63`, `(08) 8747 6301`.

Next to a word (*tel*, *fax*, *call me at* before; *office*, *mobile*, *fax* after) 7 to 15 digits in groups. Never a number
with fewer than three different digits, part of a longer number, version, path or identifier, or that reads as a date or IP address.
"""

from __future__ import annotations

import re

from curate_operators.redact_rules import Found
from curate_operators.redact_windows import Window

_SEP = rb"(?:[ .\-/]|\xc2\xa0|\xe2\x80[\x90-\x93])"
_EXTENSION = rb"(?:,?[ ]?(?:[xX]|[eE]xt(?:\.|ension)?)[ ]?[0-9]{1,6})?"
MAX_HEAD_BYTES = 2  # `+(`
MAX_TAIL_BYTES = 24  # `, extension 123456`
MAX_CUE_BYTES = 48
_BEFORE = rb"(?<![A-Za-z0-9_.\-/+@#=$%&?*^\\])(?<![0-9],)"
_AFTER = rb"(?![A-Za-z0-9_@%]|[.,:=/\-+][0-9]|-[A-Za-z])"
_ALONE_BEFORE = rb"(?<![0-9][ \-./,])(?<![0-9]\))"
_ALONE_AFTER = rb"(?![ ][0-9]|[ ]?[/x*=][ ]?[0-9]|\xc2\xa0[0-9])"

STRONG = re.compile(
    _BEFORE
    + rb"(?:(?P<international>\+(?:1"
    + _SEP
    + rb"?\(?[2-9][0-9]{2}\)?"
    + _SEP
    + rb"?[0-9]{3}"
    + _SEP
    + rb"?[0-9]{4}|\(?[2-9][0-9]{0,2}\)?(?:"
    + _SEP
    + rb"?\([0-9]{1,5}\))?(?:"
    + _SEP
    + rb"?[0-9]){6,13})|00[1-9][0-9]{0,2}(?:"
    + _SEP
    + rb"[0-9]{2,5}){2,5})"
    + rb"|(?P<american>(?:1[ .\-])?(?:\([2-9][0-9]{2}\)[ ]?[\-]?[2-9][0-9]{2}[ .\-][0-9]{4}"
    + rb"|[2-9][0-9]{2}(?:-[2-9][0-9]{2}-|\.[2-9][0-9]{2}\.|[ /][2-9][0-9]{2}-)[0-9]{4}))"
    + rb"|"
    + _ALONE_BEFORE
    + rb"(?P<trunk>0[1-9](?:(?P<pair>[ .\-])[0-9]{2}(?:(?P=pair)[0-9]{2}){3})|\(0[1-9]\)[ ]?[0-9]{4}[ ][0-9]{4}"
    + rb"|0[1-9][0-9]{1,3}(?P<space>[ \-])[0-9]{2,4}(?:(?P=space)[0-9]{2,4}){1,3}|0[1-9][ ][0-9]{4}[ ][0-9]{4})"
    + _ALONE_AFTER
    + rb")"
    + _EXTENSION
    + _AFTER
)
# The digits of one number: groups of at most one separator, brackets round one of them.
WEAK = re.compile(
    rb"(?<![A-Za-z0-9_/+@#=$%&?*^\\])"
    + _ALONE_BEFORE
    + rb"\+?(?:\([0-9]{1,5}\)"
    + _SEP
    + rb"?)?[0-9]++(?:"
    + _SEP
    # Possessive: without that, time doubles with every digit of a long number.
    + rb"?\([0-9]{1,5}\))?(?:(?:"
    + _SEP
    + rb"|(?<=\)))[0-9]++)*+"
    + _EXTENSION
    + rb"(?![A-Za-z0-9_@%]|[.,:=/+][0-9])"
    + _ALONE_AFTER
)
_NOUNS = (
    r"(?:tele)?phones?|tel[ée]?(?:fono?|fone|foon|fax|f)?|fax|mobile?|mob|cell(?:ular)?|ph|hotline|helpline|toll[ -]?free|whats ?app|sms"
    r"|pager|voicemail|landline|desk|handy|fon|rufnummer|t[ée]l[ée]phone|portable|celular|m[óo]vil|cellulare|gsm|telefoon"
    r"|komórka|телефон|тел|факс|моб"
)
_NOUNS_WITHOUT_SPACES = "电话|電話|手机|手機|传真|傳真|電話番号|전화|팩스|휴대폰|โทร|هاتف|טלפון"
_BETWEEN = r"(?:[ ]?\(?(?:number|no|nr|num|office|home|work|us|me|at|is|on|fax|direct|free|numéro|número|nummer|номер)\)?\b\.?){0,3}"
_VERBS = r"\b(?:answer|call|text|dial|ring|phon|reach|messag)(?:e|ed|es|s|ing)?"
_WHOM = r"(?: (?:me|us|him|her|them|now|back|today|messages?)){0,2}(?: (?:at|on|to)\b)?:?"
_CUE = re.compile(
    rf"(?:(?:\b(?:{_NOUNS})\b|{_NOUNS_WITHOUT_SPACES}){_BETWEEN}|{_VERBS}{_WHOM})[ :\uff1a.()#|\-–\t]{{0,4}}\n?[ ]?$", re.IGNORECASE
)
_CUE_AFTER = re.compile(rb"(?i)[ ]?[\-(,]?[ ]?(?:office|fax|mobile|home|cell|work|tel|phone|voice)\b")
_DATE = re.compile(
    rb"(?:19|20)[0-9]{2}([ .\-/]?)(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?:[ ][0-9 .]*)?"
    rb"|(?:[0-3]?[0-9])([.\-/])(?:[0-3]?[0-9])\2(?:19|20)?[0-9]{2}(?:[ ][0-9 .]*)?|(?:19|20)[0-9]{2}[ ]?[\-/][ ]?(?:19|20)[0-9]{2}"
)
_DOTTED = re.compile(rb"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_EXTENDED = re.compile(rb",?[ ]?[xeXE].*")
# E.164 calling codes; those of one digit are 1 and 7, of two digits these, of three digits what begins with these two.
_CODES = re.compile(r"1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|(?:2[1-689]|3[578]|42|5[09]|6[789]|8[0578]|9[679]).")
MIN_DIFFERENT_DIGITS = 3


def phones(window: Window) -> Found:
    """Telephone numbers that start among the digits of a window."""
    for match in window.matches(STRONG, MAX_HEAD_BYTES, MAX_TAIL_BYTES):
        if _is_strong(match):
            yield match.span()
    for match in window.matches(WEAK, MAX_HEAD_BYTES, MAX_TAIL_BYTES):
        if _has_cue(window.text, match.start(), match.end()) and _could_be(match[0]):
            yield match.span()


def _digits(number: bytes) -> str:
    return re.sub(rb"[^0-9]", b"", _EXTENDED.sub(b"", number)).decode()


def _is_strong(match: re.Match[bytes]) -> bool:
    digits = _digits(match[0])
    if len(set(digits)) < MIN_DIFFERENT_DIGITS:
        return False
    if match["international"]:
        code = digits[2:] if digits.startswith("00") else digits
        return 8 <= len(code) <= 15 and bool(_CODES.match(code))
    if match["american"]:
        return digits[-9:-7] != "11" and digits[-6:-4] != "11"
    return 10 <= len(digits) <= 11


def _could_be(number: bytes) -> bool:
    digits = _digits(number)
    if not 7 <= len(digits) <= 15 or len(set(digits)) < MIN_DIFFERENT_DIGITS:
        return False
    return not _DATE.fullmatch(number) and not _DOTTED.fullmatch(number)


def _has_cue(text: bytes, start: int, end: int) -> bool:
    if _CUE_AFTER.match(text, end):
        return True
    before = text[max(0, start - MAX_CUE_BYTES) : start].decode("utf-8", "ignore")
    # Most numbers follow a comma, a line or another number: no need to look further.
    return before.rstrip(" :\uff1a.()#|-\u2013\t\n")[-1:].isalpha() and bool(_CUE.search(before))
