"""One toolkit for Wan-style video models: curate, caption, train, sample.

Start with `cli/pipeline.py`: each of the five commands reads the recipe (`recipe/schema.py`) and
calls one run module. Imports go one way, from `cli` down to `errors`: see pyproject.toml.
"""

__version__ = "0.1.0"
