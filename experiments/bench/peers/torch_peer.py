"""The workloads in PyTorch, eager. Written from the papers, as somebody who knows PyTorch would: fused Adam,
scaled_dot_product_attention, no gradients where none are asked for. What is done stands in torch_AREA.py.
"""
import importlib

import torch

from common import serve, threads
from torch_worker import tensor

torch.set_num_threads(threads())


def prepare(job):
    area = importlib.import_module(f"torch_{job['area']}")
    if job["kind"] != "golden":
        return area.prepare(job)
    with torch.no_grad():
        return (lambda: None), [area.golden(case).tolist() for case in job["cases"]], 1, 0


matrix = tensor(0, 1024, 1024)
serve(prepare, lambda: matrix @ matrix, {"version": torch.__version__, "threads": torch.get_num_threads()})
