"""Workloads of reduction, in PyTorch.

ToMe: Bolya et al., ICLR 2023, section 3. EViT: Liang et al., ICLR 2022, section 3.2.
"""
import torch
import torch.nn.functional as F

import torch_methods as methods
from common import parameters
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


def with_method(model, images, name, keep, parameters):
    """keep: how many patches stay after which block; parameters: the method's own in each of these blocks."""
    method, early, looks_at, sized = methods.METHODS[name]
    x = model.embed(images)
    size, state, stage, attention = torch.ones(*x.shape[:2], 1), {}, 0, None
    layers = len(model.blocks)
    for layer, block in enumerate(model.blocks):
        left = keep.get(layer)
        if left and early:
            look = methods.Look(attention=attention, layer=layer, layers=layers, p=parameters[stage], state=state)
            x, size = method(x, size, left, look)
            stage += 1
        watched = looks_at == "all" and (keep.get(layer + 1) if early else left)
        bias = None
        if sized and stage:
            bias = size.log()[:, None, None, :, 0]
        elif name == "ats" and stage:
            bias = torch.where(size > 0, 0.0, -torch.inf)[:, None, None, :, 0]
        added, q, k, v, attention = attend(block, x, bias, watched)
        x = x + added
        if left and not early:
            row = class_attention(q, k) if looks_at == "class" else None
            x, size = method(x, size, left, methods.Look(k, v, attention, row, layer, layers, None, state))
            stage += 1
        x = block.think(x)
    return model.classify(x)


def attend(block, x, bias, watched):
    """What attention adds to x, and what it is made of; the attention itself only where somebody looks at it."""
    batch, tokens, width = x.shape
    q, k, v = block.attn.qkv(block.norm1(x)).view(batch, tokens, 3, block.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    attention = None
    if watched:
        logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        attention = (logits if bias is None else logits + bias).softmax(-1)
        mixed = attention @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
    return block.attn.proj(mixed.transpose(1, 2).reshape(batch, tokens, width)), q, k, v, attention


def one_call(job):
    """A method alone, on a block of numbers."""
    batch, tokens, channels, heads = (job[name] for name in ("batch", "tokens", "channels", "heads"))
    x, size = tensor(900, batch, tokens, channels), torch.ones(batch, tokens, 1)
    method, _, looks_at, _ = methods.METHODS[job["method"]]
    keys, values = (tensor(salt, batch, heads, tokens, channels // heads) for salt in (901, 902))
    attention = tensor(903, batch, heads, tokens, tokens).softmax(-1) if looks_at else None
    p = {name.split(".", 2)[2]: torch.from_numpy(value) for name, value in parameters(job["parameters"]).items()}
    run = lambda: method(x, size, job["keep"], methods.Look(keys, values, attention, p=p))[0]
    call, (mean, *_), per, first = inferred(run)
    return call, [] if job["drawn"] else [mean], per, first


def model_with_method(job):
    described = parameters(job["parameters"])
    own = {name: torch.from_numpy(value) for name, value in described.items() if name.startswith("reduce.")}
    model = ViT(job["sizes"]).eval()
    state = {name: torch.from_numpy(value) for name, value in described.items() if name not in own}
    model.load_state_dict(state)
    stages = range(len(job["layers"]))
    sets = [{n.split(".", 2)[2]: v for n, v in own.items() if n.startswith(f"reduce.{stage}.")} for stage in stages]
    keep = dict(zip(job["layers"], job["keep"]))
    images = images_of(job)
    call, check, per, first = inferred(lambda: with_method(model, images, job["method"], keep, sets))
    return call, [] if job["drawn"] else check, per, first


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
    if kind == "call":
        return one_call(job)
    if kind == "vit_method":
        return model_with_method(job)
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
    if name in ALONE:
        return ALONE[name](case, params)
    raise ValueError(f"no case {name}")


def chosen(score, keep):
    """Which have the highest scores, best first."""
    return score.argsort(dim=-1, descending=True, stable=True)[:, :keep]


def merged(case, found):
    """Behind a class token, where the case has one."""
    x, size = given(case, "x"), given(case, "size") if "size" in case["inputs"] else None
    size = torch.ones(*x.shape[:2], 1) if size is None else size
    metric = given(case, "metric")
    if not case["params"]["class_token"]:
        return found(x, size, metric)[0]
    return torch.cat([x[:, :1], found(x[:, 1:], size[:, 1:], metric[:, 1:])[0]], 1)


def of_pitome(case, params):
    tokens = len(case["inputs"]["x"][0]) - params["class_token"]
    r = int(tokens - tokens * params["ratio"])
    dense = params["variant"] == "pitome"
    return merged(case, lambda x, size, m: methods.pitome_merge(x, size, m, r, params["margin"], dense))


def of_kmedoids(case, params):
    x, weight = given(case, "x"), given(case, "token_weight")[..., 0]
    centres, _ = methods.k_medoids(x, weight, params["clusters"], params["iterations"], parity=True)
    return methods.pick(x, centres)


def of_groups(case, params):
    x, last = given(case, "x"), torch.arange(len(case["inputs"]["x"][0])) % params["k"] == params["k"] - 1
    source, target = ((~last).nonzero()[:, 0].expand(len(x), -1), last.nonzero()[:, 0].expand(len(x), -1))
    return methods.join_most_similar(x, torch.ones(*x.shape[:2], 1), given(case, "metric"), source, target)[0]


def of_clusters(case, params):
    clusters = len(case["inputs"]["x"][0]) - params["r"]
    return merged(case, lambda x, size, m: methods.atc_merge(x, size, m, clusters, params["linkage"]))


def of_random(case, params):
    x, order = given(case, "x"), given(case, "rand")[..., 0].argsort(-1)
    source, target = order[:, : params["r"]], order[:, params["r"] :]
    return methods.join_most_similar(x, torch.ones(*x.shape[:2], 1), given(case, "metric"), source, target)[0]


def of_predictor(case, params):
    weights = {k: torch.tensor(v, dtype=torch.float32) for k, v in case["inputs"]["weights"].items()}
    renamed = {"in_conv.0": "norm", "in_conv.1": "embed", "out_conv.0": "out.0", "out_conv.2": "out.1", "out_conv.4": "out.2"}
    p = {f"{renamed[k.rsplit('.', 1)[0]]}.{k.rsplit('.', 1)[1]}": v for k, v in weights.items()}
    return methods.keep_logits(given(case, "x"), p)


def of_slimming(case, params):
    weights = {k: torch.tensor(v, dtype=torch.float32) for k, v in case["inputs"]["weights"].items()}
    renamed = {"weight.0": "norm", "weight.1": "fc1", "weight.3": "fc2"}
    p = {f"{renamed[k.rsplit('.', 1)[0]]}.{k.rsplit('.', 1)[1]}": v for k, v in weights.items() if k != "scale"}
    return methods.slimming_shares(given(case, "x"), {**p, "scale": weights["scale"]})


def of_tomesd(case, params):
    target = methods.cells(params["h"], params["w"], params["sy"], params["sx"])
    return methods.merge_into_cells(given(case, "x"), given(case, "metric"), target.expand(1, -1), params["r"])


ALONE = {
    "tomesd.bipartite_soft_matching_2d": of_tomesd,
    "tome.kth_bipartite_soft_matching": of_groups,
    "tome.random_bipartite": of_random,
    "pitome.vision": of_pitome,
    "tofu.merge": lambda case, p: methods.tofu_merge(
        given(case, "x"), given(case, "metric"), int(len(case["inputs"]["x"][0]) * (1 - p["ratio"])), True
    ),
    "mctf.merge": lambda case, p: methods.mctf_merge(given(case, "x"), given(case, "attn"), given(case, "size"), p["r"])[0],
    "topk.cls_attention": lambda case, p: chosen(given(case, "attn")[:, :, 0, 1:].mean(1), p["keep"]),
    "evit.inattentive_fusion": lambda case, p: methods.evit(
        F.pad(given(case, "tokens_without_cls"), (0, 0, 1, 0)), None, p["keep"],
        methods.Look(class_row=given(case, "cls_attn")),
    )[0][:, -1:],
    "dynamicvit.predictor": of_predictor,
    "sit.token_slimming": of_slimming,
    "patchmerger.forward": lambda case, p: methods.merge_patches(
        given(case, "x"), {k: given(case, k) for k in ("queries", "norm.weight", "norm.bias")}, p["scaled_attention"]
    ),
    "sinkhorn.log_optimal_transport": lambda case, p: methods.transport(given(case, "scores"), p["eps"], p["iters"]),
    "kmedoids.k_medoids_fit": of_kmedoids,
    "dpcknn.cluster_and_merge": lambda case, p: methods.merge_clusters(
        given(case, "x"), methods.dpc_knn(given(case, "x"), p["clusters"], p["k"])[1], p["clusters"]
    )[0],
    "atc.cluster_merge": of_clusters,
}
