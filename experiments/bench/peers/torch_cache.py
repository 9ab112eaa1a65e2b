"""Workloads of cache policies, in PyTorch. Written from the papers (see lib/reduction/cache), as somebody who knows PyTorch
would; what stays lies in the order of its score.
"""
import math

import torch
import torch.nn.functional as F

from torch_worker import inferred, tensor


def causal(queries, keys):
    """The attention of the last queries."""
    rows, tokens = queries.shape[2], keys.shape[2]
    logits = queries @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
    mask = torch.ones(rows, tokens, dtype=torch.bool).tril(tokens - rows)
    return logits.masked_fill_(~mask, -torch.inf).softmax(-1)


def forced(score, front=0, back=0):
    return F.pad(score, (front, back), value=score.max().item() + 1)


def streaming(k, v, q, o, keep):
    score = torch.ones_like(k[..., 0])
    score[..., 4:4 + k.shape[2] - keep] = 0
    return score


def h2o(k, v, q, o, keep):
    tokens = k.shape[2]
    return causal(q, k).sum(2) / torch.arange(tokens, 0, -1)


def tova(k, v, q, o, keep):
    seen = causal(q[:, :, -1:], k)[:, :, 0, :-1].mean(1, keepdim=True)
    return forced(seen.expand(-1, k.shape[1], -1), back=1)


def snapkv(k, v, q, o, keep):
    seen = causal(q[:, :, -64:], k)[..., :-64].mean(2)
    return forced(F.avg_pool1d(seen, 5, 1, 2), back=64)


def knorm(k, v, q, o, keep):
    return -k.norm(dim=-1)


def keydiff(k, v, q, o, keep):
    anchor = F.normalize(k, dim=-1).mean(2, keepdim=True)
    return -F.cosine_similarity(k, anchor, dim=-1)


def expected(k, v, q, o, keep, future=512, sinks=4):
    tokens, d = k.shape[2], k.shape[3]
    seen = q[:, :, sinks:]
    mean = seen.mean(2, keepdim=True)
    centred = seen - mean
    covariance = centred.transpose(-1, -2) @ centred / seen.shape[2]
    angles = torch.arange(tokens, tokens + future)[:, None] * 10000 ** (-torch.arange(d // 2) / (d // 2))
    cos, sin = angles.cos().mean(0).repeat(2), angles.sin().mean(0).repeat(2)
    half = torch.zeros(d, d)
    half[:d // 2, d // 2:], half[d // 2:, :d // 2] = -torch.eye(d // 2), torch.eye(d // 2)
    turn = torch.diag(cos) + sin[:, None] * half
    mean, covariance = mean @ turn.T, turn @ covariance @ turn.T
    keys = k[:, :, sinks:]
    logits = (keys @ mean.transpose(-1, -2))[..., 0] / math.sqrt(d) + ((keys @ covariance) * keys).sum(-1) / d / 2
    return forced(logits.softmax(-1) * v[:, :, sinks:].norm(dim=-1), front=sinks)


def lagkv(k, v, q, o, keep, lag=128, sinks=4):
    tokens = k.shape[2]
    end = sinks + (tokens - sinks) // lag * lag

    def spread(x):
        parts = x[:, :, sinks:end].unflatten(2, (-1, lag))
        low, high = parts[:, :, 1:].amin(3, keepdim=True), parts[:, :, 1:].amax(3, keepdim=True)
        return ((parts[:, :, :-1] - low) / (high - low)).std(-1).softmax(-1)

    rank = ((spread(k) + spread(v)) / 2).argsort(-1).argsort(-1) / lag
    score = torch.ones_like(k[..., 0])
    score[..., sinks:end - lag] = rank.flatten(2)
    return score


def critical(k, v, q, o, keep):
    score, (heads, d) = knorm(k, v, q, o, keep), (k.shape[1], k.shape[3])
    norm = (v @ o.T.view(heads, d, -1)).abs().sum(-1)
    best = score.topk(int(keep * 0.5), -1).indices
    weighed = (score + 1e-4) * norm
    return weighed.scatter(-1, best, torch.finfo(weighed.dtype).max)


SCORES = {f.__name__: f for f in (streaming, h2o, tova, snapkv, knorm, keydiff, expected, lagkv, critical)}


def evicted(score, k, v, keep):
    index = score.topk(keep, -1).indices[..., None].expand(-1, -1, -1, k.shape[-1])
    return torch.stack([k.gather(2, index), v.gather(2, index)])


def think(k, v, q, o, keep):
    d = k.shape[3]
    score = q[:, :, -32:].square().mean(2) * k.square().mean(2)
    lowest = score.topk(d // 2, largest=False).indices[:, :, None].expand(-1, -1, k.shape[2], -1)
    return k.scatter(-1, lowest, 0)


def adakv(k, v, q, o, keep, alpha=0.2):
    score, tokens = keydiff(k, v, q, o, keep), k.shape[2]
    heads = k.shape[1]
    best = score.topk(int(keep * alpha), -1).indices
    raised = score.scatter(-1, best, torch.finfo(score.dtype).max).flatten(1)
    stays = torch.zeros_like(raised)
    return stays.scatter(-1, raised.topk(heads * keep, -1).indices, 1).view(-1, heads, tokens)


def chunkkv(k, v, q, o, keep, chunk=20):
    score, tokens, d = knorm(k, v, q, o, keep).sum(1), k.shape[2], k.shape[3]
    whole = tokens // chunk * chunk
    means = score[:, :whole].unflatten(1, (-1, chunk)).mean(-1)
    if whole < tokens:
        means = torch.cat([means, score[:, whole:].mean(1, keepdim=True)], 1)
    best = means.topk(min(means.shape[1], keep // chunk + 2), -1).indices[0]
    places = (best[:, None] * chunk + torch.arange(chunk)).flatten()
    places = places[places < tokens][:keep]  # the last chunk may be cut
    return torch.stack([k[:, :, places], v[:, :, places]])


def merged(k, v, q, o, keep):
    order = knorm(k, v, q, o, keep).argsort(-1, descending=True)
    d = k.shape[3]
    take = lambda x, index: x.gather(2, index[..., None].expand(-1, -1, -1, d))
    kept, gone = order[..., :keep], order[..., keep:]
    unit = F.normalize(k, dim=-1)
    cosine, into = (take(unit, gone) @ take(unit, kept).transpose(-1, -2)).max(-1)
    values, going = take(v, kept), take(v, gone)
    own, other = going.norm(dim=-1), values.norm(dim=-1).gather(2, into)
    weight = cosine.clamp(min=0) * own / (own + other + 1e-8)
    sums = torch.zeros_like(values).scatter_add(2, into[..., None].expand(-1, -1, -1, d), going * weight[..., None])
    total = torch.zeros_like(values[..., 0]).scatter_add(2, into, weight)
    return torch.stack([take(k, kept), (values + sums) / (1 + total[..., None])])


WHOLE = {f.__name__: f for f in (think, adakv, chunkkv, merged)}


def prepare(job):
    shape = (1, job["heads"], job["tokens"], job["channels"])
    width = job["heads"] * job["channels"]
    k, v, q = (tensor(salt, *shape) for salt in (910, 911, 912))
    o, keep, method = tensor(913, width, width), job["keep"], job["method"]
    if method in WHOLE:
        run = lambda: WHOLE[method](k, v, q, o, keep)
    else:
        run = lambda: evicted(SCORES[method](k, v, q, o, keep), k, v, keep)
    call, (mean, *_), per, first = inferred(run)
    return call, [mean], per, first


def golden(case):
    """What is computed for a golden case."""
    raise ValueError(f"no case {case['name']}")
