"""llmock with batches that take as long as the benchmark says: its own three seconds are a variable of a module.

It knows that variable; it does not know what is asked. Started as a process of its own.
"""

from __future__ import annotations

import argparse

import uvicorn
from llmock.main import app
from llmock.routers import batch

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--batch-s", type=float, required=True)
    given = parser.parse_args()
    batch._BATCH_DELAY = given.batch_s  # noqa: SLF001  # there is no option for it
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning")
