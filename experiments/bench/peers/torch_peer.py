"""The workloads in PyTorch, eager. Written from the papers, as somebody who knows PyTorch would: fused Adam,
scaled_dot_product_attention, no gradients where none are asked for.

ToMe: Bolya et al., ICLR 2023, section 3. EViT: Liang et al., ICLR 2022, section 3.2.
"""
import time

import numpy as np
import torch
import torch.nn.functional as F

from common import parameters, pattern, serve, threads, timed

torch.set_num_threads(threads())


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

    def with_tome(self, images, r, proportional=True):
        """r: tokens to merge in each block."""
        x = self.embed(images)
        size = torch.ones(*x.shape[:2], 1)
        for block, pairs in zip(self.blocks, r):
            added, keys, _ = block.attend(x, size if proportional else None)
            x = x + added
            x, size = merge(keys.mean(1), x, size, pairs, True)
            x = block.think(x)
        return self.classify(x)

    def with_evit(self, images, keep):
        """keep: patches that each block keeps beside the fused one; 0 keeps all."""
        x = self.embed(images)
        for block, left in zip(self.blocks, keep):
            added, keys, queries = block.attend(x)
            x = x + added
            if left:
                x = fuse(x, class_attention(queries, keys), left)
            x = block.think(x)
        return self.classify(x)


def class_attention(queries, keys):
    """How much the class token attends to each patch, averaged over heads."""
    logits = queries[:, :, :1] @ keys.transpose(-1, -2) * queries.shape[-1] ** -0.5
    return logits.softmax(-1)[:, :, 0, 1:].mean(1)


def fuse(x, attention, keep):
    """The class token, the most attended patches, and the sum of the others weighted by attention."""
    order = attention.argsort(-1, descending=True)
    chosen, rest = order[:, :keep], order[:, keep:]
    width = x.shape[-1]
    patches = x[:, 1:]
    kept = patches.gather(1, chosen[..., None].expand(-1, -1, width))
    others = patches.gather(1, rest[..., None].expand(-1, -1, width))
    fused = attention.gather(1, rest)[:, None] @ others
    return torch.cat([x[:, :1], kept, fused], 1)


def merge(metric, x, size, r, class_token):
    """Bipartite soft matching, and the mean by size of what is matched."""
    r = min(r, (metric.shape[1] - int(class_token)) // 2)
    if r <= 0:
        return x, size
    metric = metric / metric.norm(dim=-1, keepdim=True)
    scores = metric[:, ::2] @ metric[:, 1::2].transpose(-1, -2)
    if class_token:
        scores[:, 0] = -torch.inf
    best, partner = scores.max(-1)
    order = best.argsort(-1, descending=True)
    leaving, staying = order[:, :r], order[:, r:]
    if class_token:
        staying = staying.sort(-1)[0]  # the class token comes first again
    joins = partner.gather(1, leaving)
    width = x.shape[-1]
    heavy = x * size

    def together(values):
        wide = values.shape[-1]
        a, b = values[:, ::2], values[:, 1::2]
        stays = a.gather(1, staying[..., None].expand(-1, -1, wide))
        goes = a.gather(1, leaving[..., None].expand(-1, -1, wide))
        return torch.cat([stays, b.scatter_add(1, joins[..., None].expand(-1, -1, wide), goes)], 1)

    total = together(size)
    return together(heavy) / total, total


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


def prepare(job):
    kind = job["kind"]
    if kind == "golden":
        return golden(job)
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
    if kind in ("vit", "vit_tome", "vit_evit"):
        model, images = filled(ViT(job["sizes"]), job["parameters"]).eval(), images_of(job)
        if kind == "vit":
            return inferred(lambda: model(images))
        if kind == "vit_tome":
            return inferred(lambda: model.with_tome(images, [job["r"]] * job["sizes"]["depth"]))
        return inferred(lambda: model.with_evit(images, job["keep"]))
    if kind == "tome":
        x = tensor(900, job["batch"], job["tokens"], job["channels"])
        size = torch.ones(*x.shape[:2], 1)
        call, (mean, *_), per, first = inferred(lambda: merge(x, x, size, job["r"], True)[0])
        return call, [mean], per, first
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


def golden(job):
    """The outputs of golden cases, for bench.ts to compare."""
    outputs = []
    with torch.no_grad():
        for case in job["cases"]:
            as_tensor = lambda name: torch.tensor(case["inputs"][name], dtype=torch.float32)
            if case["name"] == "tome.bipartite_soft_matching":
                x = as_tensor("x")
                p = case["params"]
                merged, _ = merge(as_tensor("metric"), x, torch.ones(*x.shape[:2], 1), p["r"], p["class_token"])
                outputs.append(merged.tolist())
                continue
            model = ViT(case["sizes"], case["sizes"]["epsilon"])
            model.load_state_dict({k: torch.tensor(v, dtype=torch.float32) for k, v in case["weights"].items()})
            images = as_tensor("image")
            if case["name"] == "vit.forward":
                outputs.append(model(images).tolist())
            elif case["name"] == "vit_tome.forward":
                outputs.append(model.with_tome(images, case["r"], case["params"]["prop_attn"]).tolist())
            else:
                outputs.append(model.with_evit(images, case["keep"]).tolist())
    return (lambda: None), outputs, 1, 0


matrix = tensor(0, 1024, 1024)
serve(prepare, lambda: matrix @ matrix, {"version": torch.__version__, "threads": torch.get_num_threads()})
