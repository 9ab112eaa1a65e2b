"""What both peers share: the numbers they compute on, the measuring loop, and how they talk to bench.ts.

The first line on standard input is the job; the answer says what came out of the first calls. Then each line asks for a
round of so many milliseconds, and the last one, "end", for the memory.
"""
import json
import os
import sys
import time

import numpy as np


def pattern(salt, count, scale=1.0, offset=0.0):
    """Numbers in [-scale, scale) that look like noise and are the same in every language; see workloads.ts."""
    with np.errstate(over="ignore"):
        i = np.arange(count, dtype=np.uint32)
        h = i * np.uint32(0x9E3779B1) + np.uint32(((salt + 1) * 0x85EBCA77) % 2**32)
        h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
        h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
        h ^= h >> np.uint32(16)
    return (offset + scale * ((h >> np.uint32(8)).astype(np.float64) / 2**23 - 1)).astype(np.float32)


def parameters(described):
    """The parameters that workloads.ts describes, as arrays by name."""
    return {
        p["name"]: pattern(k, int(np.prod(p["shape"])), p["scale"], p["offset"]).reshape(p["shape"])
        for k, p in enumerate(described)
    }


def say(value):
    print(json.dumps(value), flush=True)


def reset_peak():
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith(name))


def timed(call):
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def serve(prepare, product, about):
    """prepare(job) -> (call, check); product() multiplies two matrices of 1024 x 1024."""
    job = json.loads(sys.stdin.readline())
    before = memory("VmRSS")
    try:
        reset_peak()
    except OSError:
        before = None
    try:
        call, check, per_call, first = prepare(job)
    except Exception as error:  # one sentence for the table
        say({"error": f"{type(error).__name__}: {error}".split("\n")[0]})
        return
    for _ in range(2):
        call()
    say({"first_ms": first, "check": check, **about})
    for line in sys.stdin:
        if line.strip() == "end":
            break
        budget = float(line)
        call()
        times, stop = [], time.perf_counter() + budget / 1e3
        while time.perf_counter() < stop or len(times) < 3:
            times.append(timed(call) / per_call)
        product()
        rate = 2 * 1024**3 / min(timed(product) for _ in range(5)) / 1e6
        say({"ms": times, "gflops": rate})
    say({"peak_mb": None if before is None else memory("VmHWM") - before})


def threads():
    return int(os.environ["BENCH_THREADS"])
