"""The tests of weights share small models."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
