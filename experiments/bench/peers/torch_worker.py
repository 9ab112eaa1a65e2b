"""What the areas' workloads in PyTorch share: tensors that everybody computes on, how a training step and a call are
timed, and the ViT.
"""
import time

import numpy as np
import torch
import torch.nn.functional as F

from common import parameters, pattern


def tensor(salt, *shape, scale=1.0):
    return torch.from_numpy(pattern(salt, int(np.prod(shape)), scale).reshape(shape))


class Block(torch.nn.Module):
    def __init__(self, width, heads, epsilon=1e-6, hidden=None):
        super().__init__()
        self.heads = heads
        self.norm1 = torch.nn.LayerNorm(width, eps=epsilon)
        self.norm2 = torch.nn.LayerNorm(width, eps=epsilon)
        self.attn = torch.nn.Module()
        self.attn.qkv = torch.nn.Linear(width, 3 * width)
        self.attn.proj = torch.nn.Linear(width, width)
        self.mlp = torch.nn.Module()
        self.mlp.fc1 = torch.nn.Linear(width, hidden or 4 * width)
        self.mlp.fc2 = torch.nn.Linear(hidden or 4 * width, width)

    def attend(self, x, size=None):
        """What attention adds to x, the keys, and the queries."""
        batch, tokens, width = x.shape
        q, k, v = self.attn.qkv(self.norm1(x)).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = None if size is None else size.log()[:, None, None, :, 0]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.attn.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)), k, q

    def think(self, x):
        return x + self.mlp.fc2(F.gelu(self.mlp.fc1(self.norm2(x))))

    def forward(self, x):
        return self.think(x + self.attend(x)[0])


class ViT(torch.nn.Module):
    def __init__(self, sizes, epsilon=1e-6):
        super().__init__()
        width = sizes["width"]
        patches = (sizes["image"] // sizes["patch"]) ** 2
        self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = torch.nn.Parameter(torch.zeros(1, patches + 1, width))
        self.patch_embed = torch.nn.Module()
        self.patch_embed.proj = torch.nn.Conv2d(sizes.get("channels", 3), width, sizes["patch"], sizes["patch"])
        hidden = sizes.get("hidden")
        self.blocks = torch.nn.ModuleList(Block(width, sizes["heads"], epsilon, hidden) for _ in range(sizes["depth"]))
        self.norm = torch.nn.LayerNorm(width, eps=epsilon)
        self.head = torch.nn.Linear(width, sizes["classes"])

    def embed(self, images):
        x = self.patch_embed.proj(images).flatten(2).transpose(1, 2)
        return torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed

    def classify(self, x):
        return self.head(self.norm(x[:, 0]))

    def forward(self, images):
        x = self.embed(images)
        for block in self.blocks:
            x = block(x)
        return self.classify(x)

    @staticmethod
    def of(case):
        """With the sizes and weights of a golden case."""
        model = ViT(case["sizes"], case["sizes"]["epsilon"])
        model.load_state_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in case["weights"].items()})
        return model


def filled(model, described):
    with torch.no_grad():
        state = {name: torch.from_numpy(value) for name, value in parameters(described).items()}
        model.load_state_dict(state)
    return model


def images_of(job):
    side = job["sizes"]["image"]
    return tensor(900, job["batch"], 3, side, side)


def trained(model, forward):
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        adam.step()
        return loss.item()

    start = time.perf_counter()
    losses = [step()]
    first = (time.perf_counter() - start) * 1e3
    return step, losses + [step(), step()], 1, first


def inferred(run):
    def call():
        with torch.inference_mode():
            return run()

    start = time.perf_counter()
    out = call()
    first = (time.perf_counter() - start) * 1e3
    return call, [out.abs().mean().item(), *out.flatten()[:4].tolist()], 1, first


def given(case, name):
    """An input of a golden case."""
    return torch.tensor(case["inputs"][name], dtype=torch.float32)
