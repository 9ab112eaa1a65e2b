"""stories260k in PyTorch: Llama with a cache that has room for all tokens, and six policies that keep a part of it.

Llama: Touvron et al. 2023, section 2.2. Policies: StreamingLLM (Xiao et al., ICLR 2024), SnapKV (Li et al., NeurIPS 2024),
TOVA (Oren et al., EMNLP 2024), observed attention (Zhang et al., NeurIPS 2023), Knorm (Devoto et al., EMNLP 2024), KeyDiff (Park
et al. 2025), as kvpress scores them.
"""
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

DATA = Path(__file__).resolve().parents[3] / "data" / "stories260k"


class Llama:
    def __init__(self):
        raw = np.fromfile(DATA / "stories260K.bin", dtype=np.int32, count=7)
        self.width, hidden, self.depth, self.heads, self.key_heads, vocabulary, self.context = map(int, raw)
        numbers = torch.from_numpy(np.fromfile(DATA / "stories260K.bin", dtype=np.float32, offset=28))
        at = 0

        def take(*shape):
            nonlocal at
            size = int(np.prod(shape))
            at += size
            return numbers[at - size:at].reshape(shape).contiguous()

        w, l = self.width, self.depth
        self.channels = w // self.heads
        kw = self.key_heads * self.channels
        self.embedding = take(vocabulary, w)
        self.norm1, q, k, v = take(l, w), take(l, w, w), take(l, kw, w), take(l, kw, w)
        self.wo, self.norm2 = take(l, w, w), take(l, w)
        gate, self.down, up = take(l, hidden, w), take(l, w, hidden), take(l, hidden, w)
        self.last_norm = take(w)

        def halves(m):  # the file turns channels 2i and 2i + 1 together; here halves are
            rows = m.reshape(l, -1, self.channels // 2, 2, w)
            return rows.transpose(2, 3).reshape(l, -1, w)

        self.wq = halves(q)
        self.qkv = torch.cat([self.wq, halves(k), v], 1).contiguous()  # one product for all three
        self.gate_up = torch.cat([gate, up], 1).contiguous()
        half = self.channels // 2
        angles = torch.arange(self.context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        self.cos, self.sin = angles.cos(), angles.sin()

    def norm(self, x, weight):
        return F.rms_norm(x, (self.width,), weight, 1e-5)

    def turn(self, x, begin, count):
        cos, sin = self.cos[begin:begin + count], self.sin[begin:begin + count]
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

    def heads_of(self, layer, x):
        """Queries, keys and values, before positions."""
        h, g, d = self.heads, self.key_heads, self.channels
        split = F.linear(self.norm(x, self.norm1[layer]), self.qkv[layer]).split([h * d, g * d, g * d], -1)
        return [part.view(*x.shape[:2], -1, d).transpose(1, 2) for part in split]

    def finish(self, layer, x, q, keys, values):
        """The rest of a block, from attention on."""
        return self.rest(layer, x, F.scaled_dot_product_attention(q, keys, values, is_causal=q.shape[2] > 1, enable_gqa=True))

    def rest(self, layer, x, mixed):
        x = x + F.linear(mixed.transpose(1, 2).reshape(x.shape), self.wo[layer])
        gate, up = F.linear(self.norm(x, self.norm2[layer]), self.gate_up[layer]).chunk(2, -1)
        return x + F.linear(F.silu(gate) * up, self.down[layer])

    def last(self, x):
        return F.linear(self.norm(x[:, -1], self.last_norm), self.embedding)

    def run(self, tokens, position, cache, used, watch=None, plain=False):
        """Logits after the last of the tokens; their keys and values are written into the cache behind `used`."""
        count = tokens.shape[1]
        x = self.embedding[tokens]
        for layer, (keys, values) in enumerate(cache):
            q, k, v = self.heads_of(layer, x)
            turned_q, turned_k = self.turn(q, position, count), self.turn(k, position, count)
            end = used + count
            keys[:, :, used:end], values[:, :, used:end] = turned_k, v
            if watch:
                watch(layer, turned_q, k if plain else turned_k, v)
            x = self.finish(layer, x, turned_q, keys[:, :, :end], values[:, :, :end])
        return self.last(x)

    def run_ranked(self, token, cache):
        """One token, with keys that are turned by their place in the cache; the cache's pairs are replaced by longer ones."""
        x = self.embedding[token]
        for layer, (keys, values) in enumerate(cache):
            q, k, v = self.heads_of(layer, x)
            keys, values = torch.cat([keys, k], 2), torch.cat([values, v], 2)
            cache[layer] = keys, values
            count = keys.shape[2]
            x = self.finish(layer, x, self.turn(q, count - 1, 1), self.turn(keys, 0, count), values)
        return self.last(x)

    def empty(self, slots):
        """A cache with room for so many tokens."""
        shape = (1, self.key_heads, slots, self.channels)
        return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(self.depth)]


def attention_of_last(queries, keys, rows):
    """[batch, heads, rows, tokens]: causal, after the softmax."""
    batch, heads, tokens, channels = queries.shape
    wide = keys.repeat_interleave(heads // keys.shape[1], 1)
    logits = queries[:, :, -rows:] @ wide.transpose(-1, -2) / channels**0.5
    later = torch.ones(rows, tokens, dtype=torch.bool).triu(tokens - rows + 1)
    return logits.masked_fill(later, -torch.inf).softmax(-1)


def group_mean(scores, key_heads):
    batch, heads, tokens = scores.shape
    return scores.view(batch, key_heads, heads // key_heads, tokens).mean(2)


def score(name, queries, keys):
    """[batch, key heads, tokens], higher = stays."""
    key_heads, tokens = keys.shape[1:3]
    if name == "knorm":
        return -keys.norm(dim=-1)
    if name == "keydiff":
        return -F.cosine_similarity(keys, F.normalize(keys, dim=-1).mean(2, keepdim=True), dim=-1)
    if name == "observed_attention":
        received = attention_of_last(queries, keys, tokens).sum(2) / torch.arange(tokens, 0, -1)
        return group_mean(received, key_heads)
    if name == "tova":
        seen = attention_of_last(queries, keys, 1)[:, :, 0, :-1].mean(1, keepdim=True).expand(-1, key_heads, -1)
        return F.pad(seen, (0, 1), value=seen.max().item() + 1)
    if name == "snapkv":
        window = 32
        seen = attention_of_last(queries, keys, window)[..., :-window].mean(2)
        pooled = group_mean(F.avg_pool1d(seen, 5, 1, 2), key_heads)
        return F.pad(pooled, (0, window), value=pooled.max().item() + 1)
    raise ValueError(f"no policy {name}")


def read(model, prompt, policy, keep, room):
    """The prompt's last logits, a cache with what stays of it and room for more, and how much it holds."""
    tokens = prompt.shape[1]
    seen = []
    watch = None if policy == "full" else lambda layer, *states: seen.append(states)
    cache = model.empty(tokens + (0 if watch else room))
    logits = model.run(prompt, 0, cache, 0, watch)
    if watch is None:
        return logits, cache, tokens
    kept = model.empty(keep + room)
    for (to_keys, to_values), (queries, keys, values) in zip(kept, seen):
        best = score(policy, queries, keys).topk(keep, -1).indices[..., None].expand(-1, -1, -1, model.channels)
        to_keys[:, :, :keep], to_values[:, :, :keep] = keys.gather(2, best), values.gather(2, best)
    return logits, kept, keep


class Stream:
    """StreamingLLM: keys as they are before the rotation, the first four tokens and the last ones, turned by their rank."""

    def __init__(self, model, prompt, keep):
        self.model, seen = model, []
        cache = model.empty(prompt.shape[1])
        self.logits = model.run(prompt, 0, cache, 0, lambda layer, *states: seen.append(states), True)
        place = torch.cat([torch.arange(4), torch.arange(prompt.shape[1] - keep + 4, prompt.shape[1])])
        self.cache = [(keys[:, :, place], values[:, :, place]) for _, keys, values in seen]

    def step(self, token):
        self.logits = self.model.run_ranked(token, self.cache)
        self.cache = [tuple(torch.cat([x[:, :, :4], x[:, :, 5:]], 2) for x in pair) for pair in self.cache]


class LeastSeen:
    """TOVA: after each token, the one goes that the new token looks at least; the same in all heads of a layer."""

    def __init__(self, model, prompt, keep):
        self.model, self.position = model, prompt.shape[1]
        self.logits, self.cache, _ = read(model, prompt, "tova", keep, 1)

    def step(self, token):
        model, x = self.model, self.model.embedding[token]
        for layer, (keys, values) in enumerate(self.cache):
            q, k, v = model.heads_of(layer, x)
            q = model.turn(q, self.position, 1)
            keys[:, :, -1:], values[:, :, -1:] = model.turn(k, self.position, 1), v  # the free slot is the last one
            seen = (q.view(*keys.shape[:2], -1, q.shape[-1]) @ keys.transpose(-1, -2) / q.shape[-1]**0.5).softmax(-1)
            x = model.rest(layer, x, (seen @ values).view(q.shape))
            least = seen.mean((1, 2))[0, :-1].argmin()
            keys[:, :, least], values[:, :, least] = keys[:, :, -1], values[:, :, -1]
        self.position += 1
        self.logits = model.last(x)


def make(model, prompt, policy, keep, count):
    made, position = [], prompt.shape[1]
    if policy in ("streaming_llm", "tova"):
        stream = (Stream if policy == "streaming_llm" else LeastSeen)(model, prompt, keep)
        while True:
            token = stream.logits.argmax(-1, keepdim=True)
            made.append(token.item())
            if len(made) == count:
                return made
            stream.step(token)
    logits, cache, used = read(model, prompt, policy, keep, count)
    while True:
        token = logits.argmax(-1, keepdim=True)
        made.append(token.item())
        if len(made) == count:
            return made
        logits = model.run(token, position, cache, used)
        position, used = position + 1, used + 1


def prepare(job):
    model = Llama()
    ids = json.loads((DATA / "expected.json").read_text())["greedy_ids"]
    prompt = torch.tensor([([1] + ids)[:job["prompt"]]])
    keep = int(job["prompt"] * job["keepRate"] + 1e-9)

    def call():
        with torch.inference_mode():
            if job["kind"] == "story_prompt":
                return read(model, prompt, "full", keep, 0)[0][0].tolist()
            return make(model, prompt, job["policy"], keep, job["tokens"])

    start = time.perf_counter()
    out = call()
    first = (time.perf_counter() - start) * 1e3
    return call, [float(np.abs(out).mean()), *map(float, out[:4])], 1, first
