"""What the areas' workloads in JAX share: arrays that everybody computes on, how a training step and a call are timed,
and the ViT.
"""
import functools
import time

import jax
import jax.numpy as jnp
import numpy as np

from common import parameters, pattern

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


def vit(p, images, sizes, reduce=None, epsilon=EPSILON):
    """reduce(layer, x, size, keys, weights) -> x, size stands between attention and MLP; it may say with attribute
    `proportional` that attention is weighted by size."""
    x = embed(p, images, sizes["patch"])
    size = jnp.ones((*x.shape[:2], 1))
    for layer in range(sizes["depth"]):
        name = f"blocks.{layer}"
        weighted = size if getattr(reduce, "proportional", False) else None
        added, keys, weights = attend(x, p, name, sizes["heads"], epsilon, weighted)
        x = x + added
        if reduce:
            x, size = reduce(layer, x, size, keys, weights)
        x = think(x, p, name, epsilon)
    return linear(norm(x[:, 0], p, "norm", epsilon), p, "head")


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


def given(case, name):
    """An input of a golden case."""
    return jnp.asarray(np.array(case["inputs"][name], np.float32))


def vit_of(case, reduce=None):
    """The ViT with the sizes and weights of a golden case, on its image."""
    p = {name: jnp.asarray(np.array(value, np.float32)) for name, value in case["weights"].items()}
    return vit(p, given(case, "image"), case["sizes"], reduce, case["sizes"]["epsilon"])
