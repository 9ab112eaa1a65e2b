"""The workloads in JAX: whole functions under jit, buffers donated where a step replaces them. Written from the papers.

ToMe: Bolya et al., ICLR 2023, section 3. EViT: Liang et al., ICLR 2022, section 3.2.
"""
import functools
import os
import time

# before JAX is loaded: as many threads as the others
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "")

import jax
import jax.numpy as jnp
import numpy as np

from common import parameters, pattern, serve, threads, timed

EPSILON = 1e-6


def array(salt, *shape, scale=1.0):
    return jnp.asarray(pattern(salt, int(np.prod(shape)), scale).reshape(shape))


def norm(x, p, name, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + epsilon)
    return scaled * p[f"{name}.weight"] + p[f"{name}.bias"]


def linear(x, p, name):
    return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]


def attend(x, p, name, heads, epsilon, size=None):
    batch, tokens, width = x.shape
    y = linear(norm(x, p, f"{name}.norm1", epsilon), p, f"{name}.attn.qkv")
    q, k, v = jnp.transpose(y.reshape(batch, tokens, 3, heads, -1), (2, 0, 3, 1, 4))
    logits = q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5
    if size is not None:
        logits = logits + jnp.log(size)[:, None, None, :, 0]
    weights = jax.nn.softmax(logits, -1)
    mixed = (weights @ v).swapaxes(1, 2).reshape(batch, tokens, width)
    return linear(mixed, p, f"{name}.attn.proj"), k, weights


def think(x, p, name, epsilon):
    y = jax.nn.gelu(linear(norm(x, p, f"{name}.norm2", epsilon), p, f"{name}.mlp.fc1"), approximate=False)
    return x + linear(y, p, f"{name}.mlp.fc2")


def embed(p, images, patch):
    batch, channels, side, _ = images.shape
    rows = side // patch
    cut = images.reshape(batch, channels, rows, patch, rows, patch).transpose(0, 2, 4, 1, 3, 5)
    weight = p["patch_embed.proj.weight"]
    x = cut.reshape(batch, rows * rows, -1) @ weight.reshape(weight.shape[0], -1).T + p["patch_embed.proj.bias"]
    return jnp.concatenate([jnp.tile(p["cls_token"], (batch, 1, 1)), x], 1) + p["pos_embed"]


def vit(p, images, sizes, r=None, proportional=True, keep=None, epsilon=EPSILON):
    x = embed(p, images, sizes["patch"])
    size = jnp.ones((*x.shape[:2], 1))
    for layer in range(sizes["depth"]):
        name = f"blocks.{layer}"
        added, keys, weights = attend(x, p, name, sizes["heads"], epsilon, size if r and proportional else None)
        x = x + added
        if r:
            x, size = merge(keys.mean(1), x, size, r[layer], True)
        if keep and keep[layer]:
            x = fuse(x, weights[:, :, 0, 1:].mean(1), keep[layer])
        x = think(x, p, name, epsilon)
    return linear(norm(x[:, 0], p, "norm", epsilon), p, "head")


def fuse(x, attention, keep):
    order = jnp.argsort(-attention, -1)
    chosen, rest = order[:, :keep], order[:, keep:]
    patches = x[:, 1:]
    kept = jnp.take_along_axis(patches, chosen[..., None], 1)
    others = jnp.take_along_axis(patches, rest[..., None], 1)
    fused = jnp.take_along_axis(attention, rest, 1)[:, None] @ others
    return jnp.concatenate([x[:, :1], kept, fused], 1)


def merge(metric, x, size, r, class_token):
    r = min(r, (metric.shape[1] - int(class_token)) // 2)
    if r <= 0:
        return x, size
    metric = metric / jnp.linalg.norm(metric, axis=-1, keepdims=True)
    scores = metric[:, ::2] @ metric[:, 1::2].swapaxes(-1, -2)
    if class_token:
        scores = scores.at[:, 0].set(-jnp.inf)
    best, partner = scores.max(-1), scores.argmax(-1)
    order = jnp.argsort(-best, -1)
    leaving, staying = order[:, :r], order[:, r:]
    if class_token:
        staying = jnp.sort(staying, -1)
    joins = jnp.take_along_axis(partner, leaving, 1)
    image = jnp.arange(len(x))[:, None]

    def together(values):
        a, b = values[:, ::2], values[:, 1::2]
        stays = jnp.take_along_axis(a, staying[..., None], 1)
        goes = jnp.take_along_axis(a, leaving[..., None], 1)
        return jnp.concatenate([stays, b.at[image, joins].add(goes)], 1)

    total = together(size)
    return together(x * size) / total, total


def trained(p, loss_of):
    zeros = jax.tree.map(jnp.zeros_like, p)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def step(p, m, v, n):
        loss, g = jax.value_and_grad(loss_of)(p)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        update = lambda p, m, v: p - 1e-3 * (m / (1 - 0.9**n)) / (jnp.sqrt(v / (1 - 0.999**n)) + 1e-7)
        return jax.tree.map(update, p, m, v), m, v, loss

    state = [p, zeros, jax.tree.map(jnp.zeros_like, p), 1.0]

    def call():
        *state[:3], loss = step(*state)
        state[3] += 1
        return float(loss)

    start = time.perf_counter()
    losses = [call()]
    first = (time.perf_counter() - start) * 1e3
    return call, losses + [call(), call()], 1, first


def inferred(run, *arguments):
    compiled = jax.jit(run)
    call = lambda: jax.block_until_ready(compiled(*arguments))
    start = time.perf_counter()
    out = call()
    first = (time.perf_counter() - start) * 1e3
    return call, [float(jnp.abs(out).mean()), *map(float, out.ravel()[:4])], 1, first


def model_of(job):
    return {name: jnp.asarray(value) for name, value in parameters(job["parameters"]).items()}


def images_of(job):
    side = job["sizes"]["image"]
    return array(900, job["batch"], 3, side, side)


def prepare(job):
    kind = job["kind"]
    if kind == "golden":
        return golden(job)
    if kind == "mlp_step":
        width, batch = job["width"], job["batch"]
        p = [(array(k, width, width, scale=(3 / width) ** 0.5), jnp.zeros(width)) for k in range(3)]
        x, y = array(900, batch, width), array(901, batch, width)

        def loss(p):
            h = x
            for k, (w, b) in enumerate(p):
                h = h @ w.T + b
                h = jax.nn.relu(h) if k < 2 else h
            return ((h - y) ** 2).mean()

        return trained(p, loss)
    if kind == "block_step":
        shape = (job["batch"], job["tokens"], job["width"])
        x, y = array(900, *shape), array(901, *shape)

        def loss(p):
            h = think(x + attend(x, p, "blocks.0", job["heads"], EPSILON)[0], p, "blocks.0", EPSILON)
            return ((h - y) ** 2).mean()

        return trained(model_of(job), loss)
    if kind == "vit_step":
        images, sizes = images_of(job), job["sizes"]
        labels = jax.nn.one_hot(jnp.arange(job["batch"]) % sizes["classes"], sizes["classes"])
        return trained(model_of(job), lambda p: -(labels * jax.nn.log_softmax(vit(p, images, sizes))).sum(-1).mean())
    if kind in ("vit", "vit_tome", "vit_evit"):
        sizes = job["sizes"]
        r = [job["r"]] * sizes["depth"] if kind == "vit_tome" else None
        return inferred(lambda p, x: vit(p, x, sizes, r=r, keep=job.get("keep")), model_of(job), images_of(job))
    if kind == "tome":
        x = array(900, job["batch"], job["tokens"], job["channels"])
        run = lambda x, size: merge(x, x, size, job["r"], True)[0]
        call, (mean, *_), per, first = inferred(run, x, jnp.ones((*x.shape[:2], 1)))
        return call, [mean], per, first
    if kind == "part":
        return inferred(*part_of_block(job))
    if kind in ("small_op", "compiled_call"):
        x, y = array(0, 8, 8), array(1, 8, 8)
        compiled = jax.jit(lambda x: (x + 1) * 2)
        run = (lambda: jnp.add(x, y)) if kind == "small_op" else (lambda: compiled(x))
        first = timed(lambda: jax.block_until_ready(run()))

        def many():
            for _ in range(1000):
                jax.block_until_ready(run())

        return many, [], 1000, first
    if kind in ("upload", "download"):
        host = pattern(0, job["megabytes"] * 250000)
        device = jnp.array(host)
        up = lambda: jax.block_until_ready(jnp.array(host, copy=True))
        move = up if kind == "upload" else (lambda: np.array(device, copy=True))
        return move, [], 1, timed(move)
    if kind == "scan":
        width = job["width"]
        x = array(900, job["steps"], job["batch"], width)
        w, u = array(0, width, width, scale=(3 / width) ** 0.5), array(1, width, width, scale=(3 / width) ** 0.5)

        def run(x):
            def step(h, x):
                h = jnp.tanh(x @ w + h @ u)
                return h, h

            return jax.lax.scan(step, jnp.zeros((job["batch"], width)), x)[1]

        return inferred(run, x)
    raise ValueError(f"no workload {kind}")


def part_of_block(job):
    """One part of a block's forward pass, alone, and what it takes."""
    batch, tokens, width, heads = (job[name] for name in ("batch", "tokens", "width", "heads"))
    dense = lambda salt, inputs, outputs: (
        array(salt, outputs, inputs, scale=(3 / inputs) ** 0.5),
        array(salt + 10, outputs),
    )
    layers = [dense(0, width, 3 * width), dense(1, width, width), dense(2, width, 4 * width), dense(3, 4 * width, width)]
    p = {"n.weight": array(20, width), "n.bias": array(21, width)}
    channels = {"linear": width, "attention": 3 * width, "norm": width, "gelu": 4 * width}[job["part"]]

    def linear_layers(x, layers):
        y = x.reshape(-1, width) @ layers[0][0].T + layers[0][1]
        y = y[:, :width]
        for weight, bias in layers[1:]:
            y = y @ weight.T + bias
        return y

    def attention(x):
        q, k, v = jnp.transpose(x.reshape(batch, tokens, 3, heads, -1), (2, 0, 3, 1, 4))
        weights = jax.nn.softmax(q @ k.swapaxes(-1, -2) * (width // heads) ** -0.5, -1)
        return (weights @ v).swapaxes(1, 2).reshape(batch, tokens, width)

    x = array(900, batch, tokens, channels)
    if job["part"] == "linear":
        return linear_layers, x, layers
    if job["part"] == "attention":
        return attention, x
    if job["part"] == "norm":
        return lambda x, p: norm(norm(x, p, "n", EPSILON), p, "n", EPSILON), x, p
    return lambda x: jax.nn.gelu(x, approximate=False), x


def golden(job):
    outputs = []
    for case in job["cases"]:
        as_array = lambda name: jnp.asarray(np.array(case["inputs"][name], np.float32))
        params = case["params"]
        if case["name"] == "tome.bipartite_soft_matching":
            x = as_array("x")
            merged, _ = merge(as_array("metric"), x, jnp.ones((*x.shape[:2], 1)), params["r"], params["class_token"])
            outputs.append(merged.tolist())
            continue
        p = {name: jnp.asarray(np.array(value, np.float32)) for name, value in case["weights"].items()}
        out = vit(
            p,
            as_array("image"),
            case["sizes"],
            r=case.get("r"),
            proportional=params.get("prop_attn", True),
            keep=case.get("keep"),
            epsilon=case["sizes"]["epsilon"],
        )
        outputs.append(out.tolist())
    return (lambda: None), outputs, 1, 0


matrix = array(0, 1024, 1024)
times = jax.jit(lambda a: a @ a)
serve(prepare, lambda: jax.block_until_ready(times(matrix)), {"version": jax.__version__, "threads": threads()})
