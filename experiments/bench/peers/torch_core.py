"""Workloads of nn, train and tensor, in PyTorch."""
import numpy as np
import torch
import torch.nn.functional as F

from common import pattern, timed
from torch_worker import Block, ViT, filled, given, images_of, inferred, tensor, trained


def prepare(job):
    kind = job["kind"]
    if kind == "mlp_step":
        width, batch = job["width"], job["batch"]
        linear = [torch.nn.Linear(width, width) for _ in range(3)]
        with torch.no_grad():
            for k, layer in enumerate(linear):
                layer.weight.copy_(tensor(k, width, width, scale=(3 / width) ** 0.5))
                layer.bias.zero_()
        model = torch.nn.Sequential(linear[0], torch.nn.ReLU(), linear[1], torch.nn.ReLU(), linear[2])
        x, y = tensor(900, batch, width), tensor(901, batch, width)
        return trained(model, lambda: F.mse_loss(model(x), y))
    if kind == "block_step":
        model = torch.nn.Module()
        model.blocks = torch.nn.ModuleList([Block(job["width"], job["heads"])])
        filled(model, job["parameters"])
        shape = (job["batch"], job["tokens"], job["width"])
        x, y = tensor(900, *shape), tensor(901, *shape)
        return trained(model, lambda: F.mse_loss(model.blocks[0](x), y))
    if kind == "vit_step":
        model, images = filled(ViT(job["sizes"]), job["parameters"]), images_of(job)
        labels = torch.arange(job["batch"]) % job["sizes"]["classes"]
        return trained(model, lambda: F.cross_entropy(model(images), labels))
    if kind == "vit":
        model, images = filled(ViT(job["sizes"]), job["parameters"]).eval(), images_of(job)
        return inferred(lambda: model(images))
    if kind == "part":
        return inferred(part_of_block(job))
    if kind == "small_op":
        x, y = tensor(0, 8, 8), tensor(1, 8, 8)

        def many():
            for _ in range(1000):
                torch.add(x, y)

        return many, [], 1000, timed(lambda: torch.add(x, y))
    if kind == "compiled_call":
        x = tensor(0, 8, 8)

        def calls():
            with torch.inference_mode():
                for _ in range(1000):
                    (x + 1) * 2

        return calls, [], 1000, timed(lambda: (x + 1) * 2)
    if kind in ("upload", "download"):
        host = pattern(0, job["megabytes"] * 250000)
        device = torch.from_numpy(host.copy())
        move = (lambda: torch.tensor(host)) if kind == "upload" else (lambda: device.numpy().copy())
        return move, [], 1, timed(move)
    if kind == "scan":
        width = job["width"]
        x = tensor(900, job["steps"], job["batch"], width)
        w, u = tensor(0, width, width, scale=(3 / width) ** 0.5), tensor(1, width, width, scale=(3 / width) ** 0.5)

        def run():
            h, out = torch.zeros(job["batch"], width), []
            for t in range(job["steps"]):
                h = torch.tanh(x[t] @ w + h @ u)
                out.append(h)
            return torch.stack(out)

        return inferred(run)
    raise ValueError(f"no workload {kind}")


def part_of_block(job):
    """One part of a block's forward pass, alone."""
    batch, tokens, width, heads = (job[name] for name in ("batch", "tokens", "width", "heads"))
    dense = lambda salt, inputs, outputs: (
        tensor(salt, outputs, inputs, scale=(3 / inputs) ** 0.5),
        tensor(salt + 10, outputs),
    )
    layers = [dense(0, width, 3 * width), dense(1, width, width), dense(2, width, 4 * width), dense(3, 4 * width, width)]
    weight, bias = tensor(20, width), tensor(21, width)
    channels = {"linear": width, "attention": 3 * width, "norm": width, "gelu": 4 * width}[job["part"]]
    x = tensor(900, batch, tokens, channels)

    def linear():
        y = F.linear(x.view(-1, width), *layers[0])[:, :width]
        for layer in layers[1:]:
            y = F.linear(y, *layer)
        return y

    def attention():
        q, k, v = x.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, width)

    once = lambda y: F.layer_norm(y, (width,), weight, bias, 1e-6)
    return {"linear": linear, "attention": attention, "norm": lambda: once(once(x)), "gelu": lambda: F.gelu(x)}[job["part"]]


def golden(case):
    """What is computed for a golden case."""
    return ViT.of(case)(given(case, "image"))
