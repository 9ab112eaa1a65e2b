"""The workloads in JAX: whole functions under jit, buffers donated where a step replaces them. Written from the papers.
What is done stands in jax_AREA.py; an area without one is not measured in JAX.
"""
import importlib
import os

# before JAX is loaded: as many threads as the others
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")

import jax

from common import serve, threads
from jax_worker import array


def prepare(job):
    area = importlib.import_module(f"jax_{job['area']}")
    if job["kind"] != "golden":
        return area.prepare(job)
    return (lambda: None), [area.golden(case).tolist() for case in job["cases"]], 1, 0


matrix = array(0, 1024, 1024)
times = jax.jit(lambda a: a @ a)
serve(prepare, lambda: jax.block_until_ready(times(matrix)), {"version": jax.__version__, "threads": threads()})
