"""Workloads of nn, train and tensor, in JAX."""
import jax
import jax.numpy as jnp
import numpy as np

from common import pattern, timed
from jax_worker import EPSILON, array, attend, images_of, inferred, model_of, norm, think, trained, vit, vit_of


def prepare(job):
    kind = job["kind"]
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
    if kind == "vit":
        return inferred(lambda p, x: vit(p, x, job["sizes"]), model_of(job), images_of(job))
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


def golden(case):
    """What is computed for a golden case."""
    return vit_of(case)
