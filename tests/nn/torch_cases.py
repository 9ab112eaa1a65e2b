"""Writes torch_cases.json: what PyTorch gives for layers, losses, optimizers and schedules.

python tests/nn/torch_cases.py > tests/nn/torch_cases.json   (torch 2.13.0, CPU)
"""

import json
import math

import torch
from torch import nn

torch.manual_seed(5)
torch.set_num_threads(1)
double = torch.float64


def numbers(x):
    return json.loads(json.dumps(x.detach().tolist())) if torch.is_tensor(x) else x


def weighted(x):
    """A sum in which each element counts differently, so that every gradient is looked at."""
    flat = x.reshape(-1)
    return (flat * torch.cos(torch.arange(flat.numel(), dtype=flat.dtype))).sum()


cases = []


def layer(name, module, inputs, call=None, **options):
    """Outputs of a module, the gradients of its weighted sum to inputs and parameters."""
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn_like(parameter) * 0.4)
    given = {key: value.clone() for key, value in inputs.items()}
    for value in given.values():
        if value.is_floating_point():
            value.requires_grad_(True)
    out = (call or (lambda m, x: m(x["x"])))(module, given)
    weighted(out).backward()
    cases.append({
        "name": name,
        "options": options,
        "inputs": {key: numbers(value) for key, value in given.items()},
        "parameters": {key: numbers(value) for key, value in module.named_parameters()},
        "output": numbers(out),
        "gradients": {key: numbers(value.grad) for key, value in {**given, **dict(module.named_parameters())}.items()
                      if value.is_floating_point()},
    })


class Apply(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


x3 = torch.randn(2, 5, 4)
layer("linear", nn.Linear(4, 3), {"x": x3})
layer("linear", nn.Linear(4, 3, bias=False), {"x": torch.randn(6, 4)})
layer("layerNorm", nn.LayerNorm(4), {"x": x3})
layer("layerNorm", nn.LayerNorm(4, eps=1e-6), {"x": torch.randn(3, 4)}, epsilon=1e-6)
layer("embedding", nn.Embedding(7, 3), {"x": torch.tensor([[1, 6, 1], [0, 1, 2]])})
for name, function in {
    "gelu": nn.functional.gelu,
    "geluTanh": lambda x: nn.functional.gelu(x, approximate="tanh"),
    "quickGelu": lambda x: x * torch.sigmoid(1.702 * x),
    "relu": torch.relu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}.items():
    layer("activation", Apply(function), {"x": torch.randn(4, 4) * 2}, activation=name)

attend = lambda m, x, **more: m(x["x"], x.get("context", x["x"]), x.get("context", x["x"]), need_weights=False, **more)[0]
layer("attention", nn.MultiheadAttention(4, 2, batch_first=True), {"x": x3}, lambda m, x: attend(m, x), heads=2)
causal = torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1)
layer("attention", nn.MultiheadAttention(4, 2, batch_first=True), {"x": x3},
      lambda m, x: attend(m, x, attn_mask=causal), heads=2, causal=True)
padding = torch.tensor([[False, False, False, True, True], [False] * 4 + [True]])
layer("attention", nn.MultiheadAttention(4, 2, batch_first=True), {"x": x3},
      lambda m, x: attend(m, x, key_padding_mask=padding), heads=2, mask=(~padding).int().tolist())
context = torch.randn(2, 3, 4)
layer("attention", nn.MultiheadAttention(4, 2, batch_first=True), {"x": x3, "context": context},
      lambda m, x: attend(m, x), heads=2)
layer("crossAttention", nn.MultiheadAttention(4, 2, kdim=6, vdim=6, batch_first=True),
      {"x": x3, "context": torch.randn(2, 3, 6)}, lambda m, x: attend(m, x), heads=2)
added = torch.randn(2 * 2, 5, 5)
layer("attention", nn.MultiheadAttention(4, 2, batch_first=True), {"x": x3},
      lambda m, x: attend(m, x, attn_mask=added), heads=2, bias=added.reshape(2, 2, 5, 5).tolist())
for first, activation in [(True, "gelu"), (False, "relu")]:
    layer("block", nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, activation=activation, batch_first=True,
                                              norm_first=first),
          {"x": x3}, heads=2, norm="pre" if first else "post", activation=activation)
layer("lstm", nn.LSTM(4, 3, batch_first=True), {"x": x3}, lambda m, x: m(x["x"])[0])
layer("lstm", nn.LSTMCell(4, 3), {"x": x3[:, 0], "h": torch.randn(2, 3), "c": torch.randn(2, 3)},
      lambda m, x: torch.cat(m(x["x"], (x["h"], x["c"])), 1), cell=True)
labels = torch.tensor([0, 3, 1, 3, 2])
for smoothing in [0.0, 0.1]:
    layer("crossEntropy", Apply(lambda x: nn.functional.cross_entropy(x, labels, label_smoothing=smoothing)),
          {"x": torch.randn(5, 4) * 3}, smoothing=smoothing, labels=labels.tolist())

STEPS = 12
start = {"w": torch.randn(3, 2), "b": torch.randn(2)}
slopes = [{"w": torch.randn(3, 2) * 3, "b": torch.randn(2)} for _ in range(STEPS)]


def optimizer(name, make, schedule=None, clip=None, **options):
    """The parameters after each step, where the gradients are given."""
    parameters = {key: nn.Parameter(value.clone()) for key, value in start.items()}
    torch_optimizer = make(parameters)
    scheduler = schedule(torch_optimizer) if schedule else None
    after, norms = [], []
    for slope in slopes:
        torch_optimizer.zero_grad()
        sum((parameters[key] * slope[key]).sum() for key in parameters).backward()
        if clip:
            norms.append(float(nn.utils.clip_grad_norm_(parameters.values(), clip)))
        torch_optimizer.step()
        if scheduler:
            scheduler.step()
        after.append({key: numbers(value) for key, value in parameters.items()})
    cases.append({
        "name": "optimizer",
        "options": {"kind": name, "clip": clip, **options},
        "inputs": {"start": {k: numbers(v) for k, v in start.items()},
                   "slopes": [{k: numbers(v) for k, v in slope.items()} for slope in slopes]},
        "output": after,
        "norms": norms,
    })


def plain(cls, **more):
    return lambda p: cls(p.values(), foreach=False, **more)


optimizer("sgd", plain(torch.optim.SGD, lr=0.1), learningRate=0.1)
optimizer("sgd", plain(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01), learningRate=0.1, momentum=0.9,
          weightDecay=0.01)
optimizer("sgd", plain(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.3), learningRate=0.1, momentum=0.9,
          dampening=0.3)
optimizer("sgd", plain(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True), learningRate=0.1, momentum=0.9,
          nesterov=True)
optimizer("adam", plain(torch.optim.Adam, lr=0.05), learningRate=0.05)
optimizer("adam", plain(torch.optim.Adam, lr=0.05, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1), learningRate=0.05,
          beta1=0.8, beta2=0.95, epsilon=1e-6, weightDecay=0.1)
optimizer("adamW", plain(torch.optim.AdamW, lr=0.05), learningRate=0.05)
optimizer("adamW", plain(torch.optim.AdamW, lr=0.05, weight_decay=0.2), clip=1.5, learningRate=0.05, weightDecay=0.2)
optimizer("adamW", lambda p: torch.optim.AdamW([{"params": [p["w"]], "weight_decay": 0.2},
                                               {"params": [p["b"]], "weight_decay": 0.0}], lr=0.05, foreach=False),
          learningRate=0.05, weightDecay=0.2, onlyMatrices=True)
optimizer("adam", plain(torch.optim.Adam, lr=0.05),
          lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 10, eta_min=0.001), learningRate=None,
          cosine={"peak": 0.05, "updates": 10, "final": 0.001}, until=10)
optimizer("sgd", plain(torch.optim.SGD, lr=0.1),
          lambda o: torch.optim.lr_scheduler.LambdaLR(
              o, lambda t: t / 3 if t < 3 else max(0.0, 0.5 * (1 + math.cos(math.pi * (t - 3) / 9)))),
          learningRate=None, cosine={"peak": 0.1, "updates": 12, "warmup": 3})
optimizer("sgd", plain(torch.optim.SGD, lr=0.1),
          lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [4, 8], 0.1), learningRate=None,
          steps={"start": 0.1, "at": [4, 8], "factor": 0.1})

print(json.dumps({"source": f"PyTorch {torch.__version__}, written by tests/nn/torch_cases.py", "cases": cases}))
