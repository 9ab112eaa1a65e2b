"""Workloads of `tokenization`: MedTok, in PyTorch.

Su et al., ICML 2025, arXiv:2502.04397, in the form of the authors' code: dense padded graphs and a key mask instead of its
loop over codes; of what nobody reads (text positions after the first in the second view and as queries) nothing is
computed, as here.
"""
import time

import torch
import torch.nn.functional as F

from common import parameters
from torch_worker import given, inferred, tensor

WORDS = 64


def prepare(job):
    return quantising(job) if job["kind"] == "quantize" else training(job)


def quantise(e, codebook, start, count, k):
    """What the k nearest codewords make of embeddings, straight through, and both losses."""
    z = F.normalize(e, dim=-1)
    with torch.no_grad():
        rows = F.normalize(codebook[start:start + count], dim=-1)
        tokens = (z @ rows.T).topk(k, dim=-1).indices + start
    picked = F.normalize(codebook[tokens], dim=-1)
    distance = 2 - 2 * (picked * z[:, None]).sum(-1)
    weights = F.softmax(-distance, dim=-1)
    q = (weights[..., None] * picked).sum(1)
    return e + (q - e).detach(), F.mse_loss(q, e.detach()), F.mse_loss(e, q.detach())


def quantising(job):
    codebook = tensor(0, job["rows"], job["width"])
    embeddings = tensor(900, job["count"], job["width"])

    def run():
        rows = F.normalize(codebook, dim=-1).T.contiguous()
        out = []
        for part in embeddings.split(job["block"]):
            z = F.normalize(part, dim=-1)
            near, tokens = (z @ rows).topk(job["K"], dim=-1)
            weights = F.softmax(2 * near - 2, dim=-1)
            out.append((weights[..., None] * rows.T[tokens]).sum(1))
        return torch.cat(out)

    return inferred(run)


def cross(p, x, context, mask, heads, layers, rate):
    """Layers of attention to the other modality's original tokens."""
    batch, length, width = x.shape
    split = lambda y: y.view(batch, -1, heads, width // heads).transpose(1, 2)
    for l in range(layers):
        name = f"crossAttention.{l}"
        weight, bias = p[f"{name}.attn.qkv.weight"], p[f"{name}.attn.qkv.bias"]
        q = F.linear(x, weight[:width], bias[:width])
        k, v = F.linear(context, weight[width:], bias[width:]).chunk(2, dim=-1)
        mixed = F.scaled_dot_product_attention(split(q), split(k), split(v), attn_mask=mask, dropout_p=rate)
        mixed = F.linear(
            mixed.transpose(1, 2).reshape(batch, length, width),
            p[f"{name}.attn.proj.weight"],
            p[f"{name}.attn.proj.bias"],
        )
        x = F.layer_norm(x + F.dropout(mixed, rate), (width,), p[f"{name}.norm.weight"], p[f"{name}.norm.bias"])
    return x


def nce(a, b, tau):
    logits = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T / tau
    return F.cross_entropy(logits, torch.arange(len(a)))


def slots(p, features, again, text, mask, graph, c, rate):
    """Straight-through vectors of the four slots and of the second view's two, and the sum of the codebook losses."""
    n, k = c["N"], c["K"]
    third = n // 3
    project = lambda side, x: F.linear(x, p[f"{side}Projector.weight"], p[f"{side}Projector.bias"])
    book = p["codebook.weight"]
    attend = lambda x, other, mask: cross(p, x, other, mask, c["heads"], c["xLayers"], rate)
    ct = attend(text[:, :1], graph, c.get("nodeMask"))[:, 0]
    nodes = attend(graph, text, mask)
    count = c.get("nodeCount")
    cg = nodes.mean(1) if count is None else (nodes * count[0]).sum(1) / count[1]
    found = [
        quantise(project("text", features[0]), book, 0, third, k),
        quantise(project("graph", features[1]), book, n - third, third, k),
        quantise(ct, book, 0, n, k),
        quantise(cg, book, 0, n, k),
    ]
    second = [
        quantise(project("text", again[0]), book, 0, third, k)[0],
        quantise(project("graph", again[1]), book, n - third, third, k)[0],
    ]
    return [s[0] for s in found], second, sum(s[1] + c["betaCommit"] * s[2] for s in found)


def training(job):
    c, batch = job["config"], job["batch"]
    p = {name: torch.from_numpy(value).requires_grad_() for name, value in parameters(job["parameters"]).items()}
    length, size = c["textLength"], c["maxNodes"]
    states = tensor(900, batch, length, c["textDim"])
    mask = (torch.arange(length) < WORDS).expand(batch, 1, 1, length)
    nodes = (torch.arange(batch * size) * 7919 % (c["nodeRows"] - 2)).view(batch, size)
    near, nearer = ring(batch, size, 2), ring(batch, size, 1)

    def loss(rate):
        text_of = lambda x: F.linear(F.dropout(x, rate), p["textMapped.weight"], p["textMapped.bias"])
        start = F.embedding(nodes, p["nodes.weight"])

        def graph_of(adjacency):
            x = adjacency @ F.linear(start, p["gcn.0.weight"]) + p["gcn.0.bias"]
            return adjacency @ F.linear(F.relu(x), p["gcn.1.weight"]) + p["gcn.1.bias"]

        text, graph, second = text_of(states), graph_of(near), graph_of(nearer)
        features = text[:, 0], graph.mean(1)
        again = text_of(states[:, :1])[:, 0], second.mean(1)
        (st, sg, ct, cg), (st2, sg2), codebook = slots(p, features, again, text, mask, graph, c, rate)
        shared = nce(ct, cg, c["tau"]) + nce(cg, ct, c["tau"])
        shared = shared - 2 * c["beta"] * F.cosine_similarity(*features).mean()
        pair = lambda a, b: torch.cat([a, b], 1)
        specific = nce(pair(st, cg), pair(st2, cg), c["tau"]) + nce(pair(sg, ct), pair(sg2, ct), c["tau"])
        overlap = torch.linalg.matrix_norm(st.T @ ct) + torch.linalg.matrix_norm(sg.T @ cg)
        return codebook + shared + specific + c["lambda"] * overlap

    adam = torch.optim.Adam(p.values(), lr=c["lr"], betas=(0.9, 0.95), fused=True)
    with torch.no_grad():
        check = loss(0.0).item()

    def step():
        adam.zero_grad(set_to_none=True)
        value = loss(c["dropout"])
        value.backward()
        torch.nn.utils.clip_grad_norm_(p.values(), c["clip"])
        adam.step()
        return value.item()

    start = time.perf_counter()
    step()
    return step, [check], 1, (time.perf_counter() - start) * 1e3


def ring(graphs, nodes, reach):
    """Normalised adjacency of rings with loops."""
    one = torch.zeros(nodes, nodes)
    for step in range(-reach, reach + 1):
        one[torch.arange(nodes), (torch.arange(nodes) + step) % nodes] = 1 / (2 * reach + 1)
    return one.expand(graphs, nodes, nodes).contiguous()


def golden(case):
    """One output of the authors' quantiser."""
    params, inputs, weights = case["params"], case["inputs"], case["inputs"]["weights"]
    d = params["e_dim"]
    p = {
        "codebook.weight": weights["codebook.weight"],
        **{f"{side}Projector.{kind}": weights[f"proj_{side}.{kind}"] for side in ("text", "graph") for kind in ("weight", "bias")},
    }
    layers = sum(name.endswith("layer_norm.weight") for name in weights)
    for l in range(layers):
        own, theirs = f"crossAttention.{l}", f"cross_attn.model.{l}"
        for kind in ("weight", "bias"):
            p[f"{own}.attn.qkv.{kind}"] = weights[f"{theirs}.multihead_attn.in_proj_{kind}"]
            p[f"{own}.attn.proj.{kind}"] = weights[f"{theirs}.multihead_attn.out_proj.{kind}"]
            p[f"{own}.norm.{kind}"] = weights[f"{theirs}.layer_norm.{kind}"]
    p = {name: torch.tensor(value, dtype=torch.float32) for name, value in p.items()}
    of = torch.tensor(inputs["graph_batch"])
    graphs = int(of.max()) + 1
    size = int(of.bincount().max())
    graph, there = torch.zeros(graphs, size, d), torch.zeros(graphs, size)
    for g in range(graphs):
        own = given(case, "graph_nodes")[of == g]
        graph[g, :len(own)], there[g, :len(own)] = own, 1
    c = {
        "N": params["n_e"], "K": params["k"], "heads": params["num_head"], "xLayers": layers, "betaCommit": params["beta"],
        "nodeMask": there.bool()[:, None, None, :], "nodeCount": (there[..., None], there.sum(1, keepdim=True)),
    }
    h, again = given(case, "h"), given(case, "h_aug")
    mask = given(case, "text_mask").bool()[:, None, None, :]
    found, second, _ = slots(p, (h[:, :d], h[:, d:]), (again[:, :d], again[:, d:]), given(case, "text_tokens"), mask, graph, c, 0.0)
    names = dict(zip(["specific_text", "specific_graph", "shared_text", "shared_graph"], found))
    names["specific_graph_aug"] = second[1]
    return names[case["output"]]
