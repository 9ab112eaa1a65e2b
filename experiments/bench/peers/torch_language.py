"""Workloads of language models and what reduces their tokens: generation, cache policies, prompt compression, state spaces, in PyTorch."""
import torch_stories


def prepare(job):
    if job["kind"].startswith("story"):
        return torch_stories.prepare(job)
    raise ValueError(f"no workload {job['kind']}")


def golden(case):
    """What is computed for a golden case."""
    raise ValueError(f"no case {case['name']}")
