"""Loads TensorFlow without what it tells of itself, which would stand between the tables.

To be imported before anything else that imports TensorFlow. What goes wrong is raised, and shown, as ever;
TF_CPP_MIN_LOG_LEVEL=0 brings back what was told after loading.
"""

import logging
import os

import worker  # noqa: F401 - before TensorFlow, which is then to compute by oneDNN

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("tensorflow").setLevel(logging.ERROR)

_stderr = os.dup(2)
_nowhere = os.open(os.devnull, os.O_WRONLY)
os.dup2(_nowhere, 2)  # while it loads, TensorFlow does not heed the level yet
try:
    import tensorflow  # noqa: F401 - to have it loaded
finally:
    os.dup2(_stderr, 2)
    os.close(_stderr)
    os.close(_nowhere)
