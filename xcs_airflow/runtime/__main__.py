"""`python -m xcs_airflow.runtime`: what containers and workers start.

It knows how a process logs and is asked to stop; `command.py` knows the rest.
"""

import logging
import signal
import sys
from types import FrameType
from typing import NoReturn

from xcs_airflow.runtime.command import TRY_AGAIN, main


def _stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001
    """Leave as after Ctrl-C, through all `finally` blocks, so that answers that just came are remembered."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _stop)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(TRY_AGAIN)
