"""The other side of `fasttext_speed`: datatrove's fastText filter, in datatrove's environment with the package that it asks for.

Reads `{"model": path, "texts": […]}` from the first line of standard input and answers with `{"scores": […]}`, those of all labels that
the filter leaves in a document's metadata; then it answers every line with `{"seconds": …}` of CPU for one pass over all documents, in
which it only filters. It must not import ours.
"""

from __future__ import annotations

import json
import logging
import sys
import time

from datatrove.data import Document  # type: ignore[import-not-found]
from datatrove.pipeline.filters import FastTextClassifierFilter  # type: ignore[import-not-found]

# An empty list, since 0.10.1 raises where both lists are None; and its default would glue the words of two lines together.
OPTIONS = {"remove_labels": [], "newline_replacement": " "}


def main() -> None:
    """Answer until the input ends."""
    logging.disable()
    request = json.loads(sys.stdin.readline())

    def run(step: FastTextClassifierFilter) -> tuple[float, list[Document]]:
        docs = [Document(text=text, id=str(i)) for i, text in enumerate(request["texts"])]
        begun = time.process_time()
        for doc in docs:
            step.filter(doc)
        return time.process_time() - begun, docs

    _, docs = run(FastTextClassifierFilter(request["model"], save_labels_in_metadata=True, **OPTIONS))
    print(json.dumps({"scores": [doc.metadata for doc in docs]}), flush=True)
    step = FastTextClassifierFilter(request["model"], save_labels_in_metadata=False, **OPTIONS)
    step.filter(Document(text="warm up", id="0"))
    for _ in sys.stdin:
        print(json.dumps({"seconds": run(step)[0]}), flush=True)


if __name__ == "__main__":
    main()
