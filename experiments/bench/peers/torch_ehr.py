"""Workloads of electronic health records, in PyTorch: the models written from their papers as one would there, with
fused attention, lists of edges and one loop over relations.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F

from common import parameters, pattern
from torch_worker import tensor, trained

RESERVED = 5


class Weights(torch.nn.Module):
    """Parameters by our names."""

    def __init__(self, described):
        super().__init__()
        self.names = {}
        for k, (name, value) in enumerate(parameters(described).items()):
            self.names[name] = torch.nn.Parameter(torch.from_numpy(value))
            self.register_parameter(f"p{k}", self.names[name])

    def __getitem__(self, name):
        return self.names[name]

    def linear(self, x, name):
        return F.linear(x, self[f"{name}.weight"], self.names.get(f"{name}.bias"))

    def norm(self, x, name, eps=1e-5):
        return F.layer_norm(x, x.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"], eps)

    def attend(self, x, name, heads, causal=False):
        batch, tokens, width = x.shape
        q, k, v = self.linear(x, f"{name}.qkv").view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.linear(mixed.transpose(1, 2).reshape(batch, tokens, width), f"{name}.proj")

    def mlp(self, x, name):
        return self.linear(F.gelu(self.linear(x, f"{name}.fc1")), f"{name}.fc2")

    def post(self, x, name, heads, eps=1e-5):
        x = self.norm(x + self.attend(x, f"{name}.attn", heads), f"{name}.norm1", eps)
        return self.norm(x + self.mlp(x, f"{name}.mlp"), f"{name}.norm2", eps)

    def pre(self, x, name, heads):
        x = x + self.attend(self.norm(x, f"{name}.norm1"), f"{name}.attn", heads, causal=True)
        return x + self.mlp(self.norm(x, f"{name}.norm2"), f"{name}.mlp")

    def table(self):
        return torch.cat([self["codes.reserved"], self["codes.rows"]])


def sinusoid(rows, width):
    at = torch.arange(rows, dtype=torch.float64)[:, None]
    column = torch.arange(width, dtype=torch.float64)[None]
    angle = at / 10000 ** (2 * column / width)
    return torch.where(column % 2 == 0, angle.sin(), angle.cos()).float()


def ids_of(salt, count, start, below):
    value = pattern(salt, count).astype(np.float64)
    return torch.from_numpy(start + np.floor((value + 1) / 2 * (below - start)).astype(np.int64))


def records(s):
    batch, visits, codes = s["batch"], s["visits"], s["codes"]
    order = torch.arange(visits).expand(batch, visits)
    return {
        "codes": ids_of(900, batch * visits * codes, RESERVED, RESERVED + s["vocabulary"]).view(batch, visits, codes),
        "order": order,
        "visitKind": 1 + order % 2,
        "labels": (tensor(901, batch, s["outputs"]) > 0).float(),
    }


def behrt(w, s, r):
    batch, visits, codes = r["codes"].shape
    separator = torch.full((batch, visits, 1), 2)
    words = torch.cat([torch.full((batch, 1), 4), torch.cat([r["codes"], separator], 2).view(batch, -1)], 1)
    visit = r["order"][:, :, None].expand(-1, -1, codes + 1).reshape(batch, -1)
    visit = torch.cat([visit[:, :1], visit], 1)
    x = F.embedding(words, w.table()) + F.embedding(visit % 2, w["segment.weight"])
    x = x + F.embedding(602 + visit, w["age.weight"]) + sinusoid(visits, s["width"])[visit]
    x = w.norm(x, "norm", 1e-12)
    for layer in range(s["layers"]):
        x = w.post(x, f"blocks.{layer}", s["heads"], 1e-12)
    return w.linear(torch.tanh(w.linear(x[:, 0], "pooler")), "head")


def transformehr(w, s, r):
    batch, visits, codes = r["codes"].shape
    heads, width = s["heads"], s["width"]
    table = w.table()
    places = torch.arange(1, visits * codes + 1)
    offset = (30 * r["order"])[:, :, None].expand(-1, -1, codes).reshape(batch, -1)
    memory = F.embedding(r["codes"].view(batch, -1), table) + w["encoder.position.weight"][places]
    memory = w.norm(memory + F.embedding(offset, w["encoder.offset.weight"]), "encoder.norm")
    for layer in range(s["layers"]):
        memory = w.post(memory, f"encoder.blocks.{layer}", heads)
    x = table[4].expand(batch, 1, width) + w["decoder.position.weight"][1]
    x = w.norm(x, "decoder.norm")

    def split(y):
        return y.view(batch, -1, heads, width // heads).transpose(1, 2)

    for layer in range(s["layers"]):
        at = f"decoder.layers.{layer}"
        x = w.norm(x + w.attend(x, f"{at}.own", heads), f"{at}.ownNorm")
        q, k, v = (split(w.linear(y, f"{at}.cross.{n}")) for n, y in (("q", x), ("k", memory), ("v", memory)))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, 1, width)
        x = w.norm(x + w.linear(mixed, f"{at}.cross.proj"), f"{at}.crossNorm")
        x = w.norm(x + w.mlp(x, f"{at}.mlp"), f"{at}.norm")
    return w.linear(torch.tanh(w.linear(x[:, 0], "head.dense")), "head.out")


def edge_type(a, b):
    low, high = torch.minimum(a, b), torch.maximum(a, b)
    return torch.where(low == 0, (high - 1).clamp(min=0), torch.where(low == high, torch.full_like(low, 3), low + high + 1))


def sum_by(values, index, count):
    return torch.zeros(count, *values.shape[1:]).index_add_(0, index, values)


def softmax_by(logits, index, count):
    odds = (logits - logits.detach().max()).exp()
    return odds / sum_by(odds, index, count)[index]


def gt_behrt(w, s, r):
    batch, visits, codes = r["codes"].shape
    part = s["width"] // 4
    graphs, nodes = batch * visits, codes + 1
    ids = torch.cat([torch.full((graphs, 1), 4), r["codes"].view(graphs, codes)], 1)
    kind = torch.cat([torch.zeros(graphs, 1, dtype=torch.long), 1 + ids[:, 1:] % 3], 1).view(-1)
    target, source = torch.where(~torch.eye(nodes, dtype=torch.bool))
    start = (nodes * torch.arange(graphs))[:, None]
    source, target = (source + start).view(-1), (target + start).view(-1)
    edges = F.embedding(edge_type(kind[source], kind[target]), w["edgeTypes.weight"])

    def norm(x, name):
        x = x.view(graphs, nodes, part)
        centred = x - x.mean((1, 2), keepdim=True)
        x = centred * (centred.square().mean((1, 2), keepdim=True) + 1e-5).rsqrt()
        return (x * w[f"{name}.weight"] + w[f"{name}.bias"]).view(-1, part)

    x = F.embedding(ids.view(-1), w.table())
    for layer in range(3):
        at = f"graph.{layer}"
        y = norm(x, f"{at}.norm1")
        q, k, v = (w.linear(y, f"{at}.{n}").view(-1, 2, part) for n in ("query", "key", "value"))
        e = w.linear(edges, f"{at}.edge").view(-1, 2, part)
        logits = (q[target] * (k[source] + e)).sum(2) / math.sqrt(part)
        weight = softmax_by(logits, target, graphs * nodes)
        heard = sum_by((v[source] + e) * weight[:, :, None], target, graphs * nodes)
        heard = w.linear(heard.view(-1, 2 * part), f"{at}.proj") if layer < 2 else heard.mean(1)
        x = x + heard
        x = x + w.linear(F.gelu(w.linear(norm(x, f"{at}.norm2"), f"{at}.ffn")), f"{at}.ffn2")
        if layer < 2:
            x = F.gelu(x)
    read = x.view(batch, visits, nodes, part)[:, :, 0]
    order = r["order"]
    fixed = [sinusoid(visits, part)[order], sinusoid(1320, part)[600 + order], sinusoid(367, part)[1 + 30 * order]]
    joined = torch.cat([read, F.embedding(r["visitKind"], w["visitType.weight"]), *fixed], 2)
    joined = torch.cat([w["classToken"].expand(batch, 1, -1), joined], 1)
    joined = F.gelu(w.linear(w.norm(joined, "join.norm"), "join.dense1"))
    joined = w.norm(F.gelu(w.linear(joined, "join.dense2")), "join.last")
    for layer in range(s["layers"]):
        joined = w.post(joined, f"blocks.{layer}", s["heads"], 1e-12)
    return w.linear(torch.tanh(w.linear(joined[:, 0], "pooler")), "head")


TYPES = ["diagnosis", "drug", "patient", "procedure", "visit"]
KINDS = {"diagnosis": 1, "procedure": 2, "drug": 3}


def mult_ehr(w, s, r):
    batch, visits, codes = r["codes"].shape
    heads, width = s["heads"], s["width"]
    per = width // heads
    count = s["vocabulary"] + RESERVED
    every = torch.arange(count)
    members = {name: every[1 + every % 3 == kind] for name, kind in KINDS.items()}
    local = torch.zeros(count, dtype=torch.long)
    for ids in members.values():
        local[ids] = torch.arange(len(ids))
    flat = r["codes"].view(-1)
    visit = torch.arange(batch * visits).repeat_interleave(codes)
    relations = []
    for name in ("diagnosis", "drug", "procedure"):
        own = 1 + flat % 3 == KINDS[name]
        relations.append((name, "visit", local[flat[own]], visit[own]))
        relations.append(("visit", name, visit[own], local[flat[own]]))
    whose = torch.arange(batch).repeat_interleave(visits)
    relations.append(("patient", "visit", whose, torch.arange(batch * visits)))
    relations.append(("visit", "patient", torch.arange(batch * visits), whose))
    table = w.table()
    order = r["order"].reshape(-1)
    given = {name: table[ids] for name, ids in members.items()}
    given["patient"] = w["patient.weight"][torch.ones(batch, dtype=torch.long)]
    given["visit"] = w["visit.weight"][r["visitKind"].reshape(-1)] + w["position.weight"][order]
    features = {name: F.gelu(w.linear(given[name], f"adapt.{t}")) for t, name in enumerate(TYPES)}

    def run(stack):
        x = features
        for layer in range(s["layers"]):
            at = f"{stack}.{layer}"
            k, q, v = (
                {name: w.linear(x[name], f"{at}.{n}_linears.{t}").view(-1, heads, per) for t, name in enumerate(TYPES)}
                for n in "kqv"
            )
            heard = {name: [] for name in TYPES}
            reached = {name: [] for name in TYPES}
            for n, (source, target, a, b) in enumerate(relations):
                size = len(x[target])
                keys = torch.einsum("nhi,hij->nhj", k[source], w[f"{at}.relation_att"][n])[a]
                messages = torch.einsum("nhi,hij->nhj", v[source], w[f"{at}.relation_msg"][n])[a]
                logits = (q[target][b] * keys).sum(2) * w[f"{at}.relation_pri"][n] / math.sqrt(per)
                weight = softmax_by(logits, b, size)
                heard[target].append(sum_by(messages * weight[:, :, None], b, size).view(size, width))
                reached[target].append((torch.bincount(b, minlength=size) > 0).float()[:, None])
            after = {}
            for t, name in enumerate(TYPES):
                mean = sum(heard[name]) / sum(reached[name]).clamp(min=1)
                gate = torch.sigmoid(w[f"{at}.skip"][t])
                mixed = w.linear(mean, f"{at}.a_linears.{t}") * gate + x[name] * (1 - gate)
                after[name] = w.norm(mixed, f"{at}.norms.{t}")
            x = after
        return x["patient"]

    states, noise = run("layers"), run("random")
    labels = r["labels"]
    loss = F.binary_cross_entropy_with_logits(w.linear(states, "head"), labels)
    z = w.linear(noise, "head")
    chance = (0.5 * (F.softplus(z) + F.softplus(-z)) - math.log(2)).mean()
    intervened = F.binary_cross_entropy_with_logits(w.linear(states + noise, "head"), labels)
    return loss + 0.005 * (chance + intervened)


def ethos(w, s, tokens, targets):
    table = torch.cat([w.table(), w["special"]])
    x = F.embedding(tokens, table) + w["position.weight"]
    for layer in range(s["layers"]):
        x = w.pre(x, f"blocks.{layer}", s["heads"])
    logits = F.linear(w.norm(x, "norm"), table)
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def prepare(job):
    if job["kind"] != "recordsStep":
        raise ValueError(f"no workload {job['kind']}")
    s, name = job["sizes"], job["model"]
    w = Weights(job["parameters"])
    if name == "ETHOS":
        length, batch = job["timeline"]["tokens"], s["batch"]
        below = RESERVED + s["vocabulary"] + job["timeline"]["special"]
        ids = ids_of(902, batch * (length + 1), RESERVED, below).view(batch, length + 1)
        return trained(w, lambda: ethos(w, s, ids[:, :-1], ids[:, 1:]))
    r = records(s)
    if name == "MulT-EHR":
        return trained(w, lambda: mult_ehr(w, s, r))
    model = {"BEHRT": behrt, "TransformEHR": transformehr, "GT-BEHRT": gt_behrt}[name]
    return trained(w, lambda: F.binary_cross_entropy_with_logits(model(w, s, r), r["labels"]))


def golden(case):
    """What is computed for a golden case."""
    raise ValueError(f"no case {case['name']}")
