"""Where data lies that is no part of the project: installed packages, and the user's cache folder.

Nothing is downloaded: what is missing is named together with the line that installs it.
"""

import importlib.util
import os
import pathlib

from dl_lectures.errors import UsageError


def folder() -> pathlib.Path:
    """Where data lies that is no package: $DL_LECTURES_DATA, or the user's cache folder."""
    if path := os.environ.get("DL_LECTURES_DATA"):
        return pathlib.Path(path)
    cache = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(cache) / "dl_lectures" / "data"


def package(name: str, install: str) -> pathlib.Path:
    """The folder of an installed package, which is found but not imported: it is only data.

    Args:
        name: of the package.
        install: the command that installs it.

    Raises:
        UsageError: it is missing.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(f"the package {name} is missing; install it with: {install}")
    return pathlib.Path(spec.submodule_search_locations[0])
