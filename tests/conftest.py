"""Every test runs on two CPU devices, with rank promotion an error and the compile cache on."""

import os
import pathlib

os.environ.setdefault("MPLBACKEND", "Agg")

import jax

_CACHE = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path(_CACHE) / "dl_lectures" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
