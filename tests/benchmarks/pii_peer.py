"""The other side of `pii`: one peer on the texts from standard input; prints `{"places": {kind: [[row, start, end]]}, "seconds": …}`.

It runs in an environment of the peer's and must not import ours. Presidio is asked for its pattern recognisers only, without
the language model that finds names.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

Places = dict[str, list[tuple[int, int, int]]]
Finder = Callable[[str], list[tuple[str, int, int]]]


def datatrove() -> tuple[Finder, Callable[[str], object]]:
    """Return a finder made of the formatter's own patterns and checks, and the formatter for the clock."""
    from datatrove.pipeline.formatters.pii import PIIFormatter  # type: ignore[import-not-found]

    formatter = PIIFormatter()
    parts = {"email": formatter.emails_replacer, "ip": formatter.ip_replacer}

    def found(text: str) -> list[tuple[str, int, int]]:
        return [
            (kind, *match.span())
            for kind, part in parts.items()
            for match in part.regex.finditer(text)
            if part.validator is None or part.validator(match[0])
        ]

    return found, formatter.format


def presidio() -> tuple[Finder, Callable[[str], object]]:
    """Return Presidio's recognisers for the kinds of the gold spans, scores of 0.4 and more."""
    from presidio_analyzer import predefined_recognizers as kinds  # type: ignore[import-not-found]

    recognisers: list[tuple[str, Any]] = [
        ("email", kinds.EmailRecognizer()),
        ("ip", kinds.IpRecognizer()),
        ("phone", kinds.PhoneRecognizer()),
        ("credit_card", kinds.CreditCardRecognizer()),
        ("iban", kinds.IbanRecognizer()),
        ("us_ssn", kinds.UsSsnRecognizer()),
    ]

    def found(text: str) -> list[tuple[str, int, int]]:
        results = ((kind, each.analyze(text, each.supported_entities, None) or []) for kind, each in recognisers)
        return [(kind, result.start, result.end) for kind, spans in results for result in spans if result.score >= 0.4]

    return found, found


def scrubadub() -> tuple[Finder, Callable[[str], object]]:
    """Return scrubadub's detectors of the kinds of the gold spans."""
    import scrubadub as peer  # type: ignore[import-not-found]
    from scrubadub import detectors as all_detectors

    kinds = {"email": "email", "phone": "phone", "credit_card": "credit_card", "social_security_number": "us_ssn"}
    classes = [all_detectors.EmailDetector, all_detectors.PhoneDetector, all_detectors.CreditCardDetector]
    classes.append(all_detectors.en_US.SocialSecurityNumberDetector)
    scrubber = peer.Scrubber(detector_list=[cls(name=cls.name, locale="en_US") for cls in classes], locale="en_US")

    def found(text: str) -> list[tuple[str, int, int]]:
        return [(kinds.get(filth.type, filth.type), filth.beg, filth.end) for filth in scrubber.iter_filth(text)]

    return found, found


def main() -> None:
    """Answer one request."""
    logging.disable()
    texts = json.load(sys.stdin)
    found, timed = {"datatrove": datatrove, "presidio": presidio, "scrubadub": scrubadub}[sys.argv[1]]()
    timed("warm up")
    begun = time.process_time()
    for text in texts:
        timed(text)
    seconds = time.process_time() - begun
    places: Places = {}
    for row, text in enumerate(texts):
        for kind, start, end in found(text):
            places.setdefault(kind, []).append((row, start, end))
    json.dump({"places": places, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
