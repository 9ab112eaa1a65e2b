"""Workloads of reduction, in PyTorch.

ToMe: Bolya et al., ICLR 2023, section 3. EViT: Liang et al., ICLR 2022, section 3.2.
"""
import torch

from torch_worker import ViT, filled, given, images_of, inferred, tensor


def with_tome(model, images, r, proportional=True):
    """r: tokens to merge in each block."""
    x = model.embed(images)
    size = torch.ones(*x.shape[:2], 1)
    for block, pairs in zip(model.blocks, r):
        added, keys, _ = block.attend(x, size if proportional else None)
        x = x + added
        x, size = merge(keys.mean(1), x, size, pairs, True)
        x = block.think(x)
    return model.classify(x)


def with_evit(model, images, keep):
    """keep: patches that each block keeps beside the fused one; 0 keeps all."""
    x = model.embed(images)
    for block, left in zip(model.blocks, keep):
        added, keys, queries = block.attend(x)
        x = x + added
        if left:
            x = fuse(x, class_attention(queries, keys), left)
        x = block.think(x)
    return model.classify(x)


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


def prepare(job):
    kind = job["kind"]
    if kind in ("vit_tome", "vit_evit"):
        model, images = filled(ViT(job["sizes"]), job["parameters"]).eval(), images_of(job)
        if kind == "vit_tome":
            return inferred(lambda: with_tome(model, images, [job["r"]] * job["sizes"]["depth"]))
        return inferred(lambda: with_evit(model, images, job["keep"]))
    if kind == "tome":
        x = tensor(900, job["batch"], job["tokens"], job["channels"])
        size = torch.ones(*x.shape[:2], 1)
        call, (mean, *_), per, first = inferred(lambda: merge(x, x, size, job["r"], True)[0])
        return call, [mean], per, first
    raise ValueError(f"no workload {kind}")


def golden(case):
    """What is computed for a golden case."""
    name, params = case["name"], case["params"]
    if name == "tome.bipartite_soft_matching":
        x = given(case, "x")
        return merge(given(case, "metric"), x, torch.ones(*x.shape[:2], 1), params["r"], params["class_token"])[0]
    model, images = ViT.of(case), given(case, "image")
    if name == "vit_tome.forward":
        return with_tome(model, images, case["r"], params["prop_attn"])
    if name == "vit_evit.forward":
        return with_evit(model, images, case["keep"])
    raise ValueError(f"no case {name}")
