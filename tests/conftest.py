"""What holds for all tests: one thread each, for the processes that they start too."""

from __future__ import annotations

import os

# Before PyTorch is loaded, which reads it once. The networks are small and tests run side by side:
# a second thread would wait for its core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
