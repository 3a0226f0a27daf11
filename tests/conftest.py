"""Every test runs on two CPU devices, with rank promotion an error and the compile cache on."""

import os
import pathlib
import sys

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

from dl_lectures.reporting import plotting

_CACHE = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(_CACHE) / "dl_lectures" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


@pytest.fixture(params=["with the font", "without the font"])
def font(request, monkeypatch):
    """Draws once with the Japanese font, where it is installed, and once without."""
    caches = (plotting.has_japanese, plotting._matplotlib, plotting._glyphs)
    if request.param == "without the font":
        monkeypatch.setitem(sys.modules, "matplotlib_fontja", None)  # its import raises ImportError
    for cache in caches:
        cache.cache_clear()
    yield request.param
    for cache in caches:
        cache.cache_clear()
