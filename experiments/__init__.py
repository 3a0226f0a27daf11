"""One module per experiment; `python -m experiments.NAME --help` describes each."""
