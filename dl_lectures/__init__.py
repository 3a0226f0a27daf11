"""An executable lecture on deep learning: pure-function models, one trainer, checked claims."""

__version__ = "0.1.0"
