"""A mechanism whose import waits until it is interrupted."""

import os
import time
from pathlib import Path

Path(os.environ["SLOW_REACHED"]).touch()
while True:
    time.sleep(0.02)
