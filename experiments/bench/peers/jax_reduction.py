"""Workloads of reduction, in JAX.

ToMe: Bolya et al., ICLR 2023, section 3. EViT: Liang et al., ICLR 2022, section 3.2.
"""
import jax.numpy as jnp

from jax_worker import array, given, images_of, inferred, model_of, vit, vit_of


def tome(r, proportional=True):
    """Merging of r[layer] pairs, for the ViT."""

    def reduce(layer, x, size, keys, weights):
        return merge(keys.mean(1), x, size, r[layer], True)

    reduce.proportional = proportional
    return reduce


def evit(keep):
    """Fusing of all but keep[layer] patches, where that is not 0, for the ViT."""

    def reduce(layer, x, size, keys, weights):
        return (fuse(x, weights[:, :, 0, 1:].mean(1), keep[layer]) if keep[layer] else x), size

    return reduce


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


def prepare(job):
    kind = job["kind"]
    if kind in ("vit_tome", "vit_evit"):
        sizes = job["sizes"]
        reduce = tome([job["r"]] * sizes["depth"]) if kind == "vit_tome" else evit(job["keep"])
        return inferred(lambda p, x: vit(p, x, sizes, reduce), model_of(job), images_of(job))
    if kind == "tome":
        x = array(900, job["batch"], job["tokens"], job["channels"])
        run = lambda x, size: merge(x, x, size, job["r"], True)[0]
        call, (mean, *_), per, first = inferred(run, x, jnp.ones((*x.shape[:2], 1)))
        return call, [mean], per, first
    raise ValueError(f"no workload {kind}")


def golden(case):
    """What is computed for a golden case."""
    name, params = case["name"], case["params"]
    if name == "tome.bipartite_soft_matching":
        x = given(case, "x")
        return merge(given(case, "metric"), x, jnp.ones((*x.shape[:2], 1)), params["r"], params["class_token"])[0]
    return vit_of(case, tome(case["r"], params["prop_attn"]) if name == "vit_tome.forward" else evit(case["keep"]))
