"""Other processes that claim keys, for tests of claims in any kind of place."""

import subprocess
import sys
import time
from contextlib import contextmanager


@contextmanager
def claimants(code, address):
    """Gives what starts processes that claim keys and wait; they are killed when the block ends.

    Args:
        code: Opens `claims` at the address in `sys.argv[1]`.
        address: Where.
    """
    started = []
    program = f"""{code}
print(len(claims.take(sys.argv[2:])), flush=True)
for line in sys.stdin:
    claims.release(sys.argv[2:])
    print("released", flush=True)
"""

    def start(*keys):
        process = subprocess.Popen(
            [sys.executable, "-c", program, address, *keys], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert int(process.stdout.readline()) == len(keys)
        return process

    try:
        yield start
    finally:
        for process in started:
            process.kill()
            process.communicate()


def taken_within(claims, keys, seconds):
    """What can be claimed, and after how many seconds. One call may see the moment pass and give some of them."""
    began = time.monotonic()
    taken = claims.take(keys)
    while taken != set(keys) and time.monotonic() < began + seconds:
        time.sleep(0.02)
        taken |= claims.take(keys)
    return taken, time.monotonic() - began
