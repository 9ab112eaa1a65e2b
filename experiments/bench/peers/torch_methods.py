"""Methods of token reduction in PyTorch, written from the papers; `parity=True` is what the authors' code does differently.

Each takes x [batch, tokens, channels] with a class token in front, size [batch, tokens, 1], how many patches stay, and
what the block shows; it gives x and size. Papers and sections are named in lib/reduction, one file for each method.
"""
import numpy as np
import torch
import torch.nn.functional as F


class Look:
    """What a block shows: keys and values [batch, heads, tokens, channels], attention, which block of how many; the
    method's parameters here, and what it has noted in earlier blocks.
    """

    def __init__(self, keys=None, values=None, attention=None, class_row=None, layer=0, layers=12, p=None, state=None):
        self.keys, self.values, self.attention, self.class_row = keys, values, attention, class_row
        self.layer, self.layers, self.p, self.state = layer, layers, p or {}, {} if state is None else state

    @property
    def class_attention(self):
        """[batch, patches], mean over heads."""
        return self.class_row if self.class_row is not None else self.attention[:, :, 0, 1:].mean(1)


def pick(values, index):
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def unit(x):
    return F.normalize(x, dim=-1, eps=1e-12)


def add_to(target, index, values):
    return target.scatter_add(1, index[..., None].expand(-1, -1, values.shape[-1]), values)


def behind_class(x, size, patches, sizes):
    return torch.cat([x[:, :1], patches], 1), torch.cat([size[:, :1], sizes], 1)


def joined(x, size, source, target, partner):
    """Sources join targets[partner], means by size; the targets in their order."""
    mass = torch.cat([x * size, size], -1)
    total = add_to(pick(mass, target), partner, pick(mass, source))
    return total[..., :-1] / total[..., -1:], total[..., -1:]


def bipartite(metric, r, class_token):
    """Bipartite soft matching: tokens of A that stay and that leave, and whom of B they join."""
    metric = unit(metric)
    scores = metric[:, ::2] @ metric[:, 1::2].transpose(-1, -2)
    if class_token:
        scores[:, 0] = -torch.inf
    best, partner = scores.max(-1)
    order = best.argsort(-1, descending=True)
    leaving, staying = order[:, :r], order[:, r:]
    if class_token:
        staying = staying.sort(-1)[0]  # the class token comes first again
    return staying, leaving, partner.gather(1, leaving)


def tome(x, size, keep, look):
    r = x.shape[1] - 1 - keep
    staying, leaving, joins = bipartite(look.keys.mean(1), r, True)
    mass = torch.cat([x * size, size], -1)
    a, b = mass[:, ::2], mass[:, 1::2]
    total = torch.cat([pick(a, staying), add_to(b, joins, pick(a, leaving))], 1)
    return total[..., :-1] / total[..., -1:], total[..., -1:]


def join_most_similar(x, size, metric, source, target):
    """Each source joins the most similar target."""
    partner = (unit(pick(metric, source)) @ unit(pick(metric, target)).transpose(-1, -2)).argmax(-1)
    return joined(x, size, source, target, partner)


def kth_bipartite(x, size, keep, look):
    """Of each group of neighbours all but the last leave."""
    tokens, images = x.shape[1] - 1, len(x)
    target = torch.tensor([i * tokens // keep - 1 for i in range(1, keep + 1)])
    stays = torch.zeros(tokens, dtype=torch.bool)
    stays[target] = True
    source = (~stays).nonzero()[:, 0].expand(images, -1)
    metric = look.keys.mean(1)[:, 1:]
    return behind_class(
        x, size, *join_most_similar(x[:, 1:], size[:, 1:], metric, source, target.expand(images, -1))
    )


def random_bipartite(x, size, keep, look):
    metric = look.keys.mean(1)[:, 1:]
    order = torch.rand(metric.shape[:2]).argsort(-1)
    r = metric.shape[1] - keep
    found = join_most_similar(x[:, 1:], size[:, 1:], metric, order[:, :r], order[:, r:].sort(-1)[0])
    return behind_class(x, size, *found)


def cells(height, width, tall, wide):
    """The first patch of each cell."""
    rows, columns = torch.arange(height // tall) * tall, torch.arange(width // wide) * wide
    return (rows[:, None] * width + columns).flatten()


def merge_into_cells(x, metric, target, r):
    """Of those that are no target the r most similar to one leave, plain means; what stays, then the targets."""
    images, tokens = x.shape[:2]
    is_target = torch.zeros(images, tokens, dtype=torch.bool).scatter_(1, target, True)
    source = is_target.to(torch.int8).argsort(dim=-1, stable=True)[:, : tokens - target.shape[1]]
    best, partner = (unit(pick(metric, source)) @ unit(pick(metric, target)).transpose(-1, -2)).max(-1)
    order = best.argsort(-1, descending=True)
    leaving, staying = order[:, :r], order[:, r:]
    joins = partner.gather(1, leaving)
    into = pick(x, target).scatter_reduce(
        1, joins[..., None].expand(-1, -1, x.shape[-1]), pick(x, source.gather(1, leaving)), "mean"
    )
    return torch.cat([pick(x, source.gather(1, staying)), into], 1)


def tomesd(x, size, keep, look):
    patches = x.shape[1] - 1
    if "cells" not in look.state:
        side = int(patches**0.5 + 0.5)
        target = cells(side, side, 2, 2)
        look.state["cells"] = len(target)
    else:
        target = torch.arange(patches - look.state["cells"], patches)  # the targets stand behind the others
    target = target.expand(len(x), -1)
    patches = merge_into_cells(x[:, 1:], look.keys.mean(1)[:, 1:], target, x.shape[1] - 1 - keep)
    return behind_class(x, size, patches, torch.ones_like(patches[..., :1]))


def energy(metric, margin):
    return F.elu(metric @ metric.transpose(-1, -2) - margin).mean(-1)


def pitome_merge(x, size, metric, r, margin, dense):
    """The first half of the blocks pair every second token by energy, the others let only the 2r densest go."""
    metric = unit(metric)
    order = energy(metric, margin).argsort(-1, descending=True)
    if dense:
        source, target, rest = order[:, : 2 * r : 2], order[:, 1 : 2 * r : 2], order[:, 2 * r :]
        partner = (pick(metric, source) @ pick(metric, target).transpose(-1, -2)).argmax(-1)
    else:
        a, target = order[:, ::2], order[:, 1::2]
        best, partner = (pick(metric, a) @ pick(metric, target).transpose(-1, -2)).max(-1)
        rank = best.argsort(-1, descending=True)
        source, rest = a.gather(1, rank[:, :r]), a.gather(1, rank[:, r:])
        partner = partner.gather(1, rank[:, :r])
    merged, sizes = joined(x, size, source, target, partner)
    return torch.cat([pick(x, rest), merged], 1), torch.cat([pick(size, rest), sizes], 1)


def pitome(x, size, keep, look):
    margin, dense = 0.75 - 0.75 * look.layer / look.layers, look.layer >= -(-look.layers // 2)
    r = x.shape[1] - 1 - keep
    return behind_class(
        x, size, *pitome_merge(x[:, 1:], size[:, 1:], look.keys.mean(1)[:, 1:], r, margin, dense)
    )


def tofu_merge(x, metric, r, merges):
    """Early blocks prune those that leave, later ones take means of the longest member's length; by the old length."""
    staying, leaving, joins = bipartite(metric, r, True)
    a, b = x[:, ::2], x[:, 1::2]
    if not merges:
        return torch.cat([pick(a, staying), b], 1)
    gone = pick(a, leaving)
    spread = lambda values: joins[..., None].expand(-1, -1, values.shape[-1])
    mean = b.scatter_reduce(1, spread(b), gone, "mean")
    length = b.norm(dim=-1, keepdim=True)
    longest = length.scatter_reduce(1, joins[..., None], gone.norm(dim=-1, keepdim=True), "amax")
    return torch.cat([pick(a, staying), mean / length * longest], 1)


def tofu(x, size, keep, look):
    out = tofu_merge(x, look.keys.mean(1), x.shape[1] - 1 - keep, look.layer >= look.layers // 2)
    return out, torch.ones_like(out[..., :1])


def mctf_merge(x, attention, size, r, information=20, by_size=40):
    """Pairs by likeness, little attention and small size; the better half goes from A to B, then back from B to A."""
    received = attention.mean((1, 2))
    scarce, small = 1 / received, 1 / size[..., 0]
    weigh = (scarce / scarce.amax(1, True)) ** (1 / information) * (small / small.amax(1, True)) ** (1 / by_size)
    metric = unit(x)
    scores = (metric[:, ::2] @ metric[:, 1::2].transpose(-1, -2) + 1) / 2
    scores = scores * weigh[:, ::2, None] * weigh[:, None, 1::2]
    scores[:, 0] = -torch.inf
    first = r // 2
    best, partner = scores.max(-1)
    order = best.argsort(-1, descending=True)
    leaving, staying = order[:, :first], order[:, first:].sort(-1)[0]
    joins = partner.gather(1, leaving)
    back = scores.gather(1, staying[..., None].expand(-1, -1, scores.shape[-1]))
    best, partner = back.max(1)
    order = best.argsort(-1, descending=True)
    leaving_b, staying_b = order[:, : r - first], order[:, r - first :]
    joins_b = partner.gather(1, leaving_b)
    share = received[..., None] * size / size.amax(1, True)
    mass = torch.cat([x * share, share, size], -1)
    a, b = mass[:, ::2], mass[:, 1::2]
    b = add_to(b, joins, pick(a, leaving))
    a = add_to(pick(a, staying), joins_b, pick(b, leaving_b))
    total = torch.cat([a, pick(b, staying_b)], 1)
    return total[..., :-2] / total[..., -2:-1], total[..., -1:]


def mctf(x, size, keep, look):
    return mctf_merge(x, look.attention, size, x.shape[1] - 1 - keep)


def atc_merge(x, size, metric, clusters, linkage="average"):
    """Agglomerative clustering, which the authors leave to SciPy."""
    from scipy.cluster.hierarchy import fcluster, linkage as link
    from scipy.spatial.distance import squareform

    metric = unit(metric)
    distance = (1 - metric @ metric.transpose(-1, -2)).clamp_min(0).numpy()
    labels = []
    for d in distance:
        np.fill_diagonal(d, 0)
        found = fcluster(link(squareform(d, checks=False), linkage), clusters, "maxclust")
        _, first, label = np.unique(found, return_index=True, return_inverse=True)
        labels.append(first.argsort().argsort()[label])  # in the order of their first tokens
    label = torch.from_numpy(np.stack(labels)).long()
    mass = torch.cat([x * size, size], -1)
    total = add_to(torch.zeros(len(x), clusters, mass.shape[-1]), label, mass)
    return total[..., :-1] / total[..., -1:], total[..., -1:]


def atc(x, size, keep, look):
    return behind_class(x, size, *atc_merge(x[:, 1:], size[:, 1:], look.keys.mean(1)[:, 1:], keep))


def best_of(x, size, score, keep):
    order = score.topk(keep).indices
    return behind_class(x, size, pick(x[:, 1:], order), pick(size[:, 1:], order))


def topk(x, size, keep, look):
    return best_of(x, size, look.class_attention, keep)


def evit(x, size, keep, look):
    """The most attended patches, and the sum of the others weighted by attention."""
    attention = look.class_attention
    order = attention.argsort(-1, descending=True)
    chosen, rest = order[:, :keep], order[:, keep:]
    fused = attention.gather(1, rest)[:, None] @ pick(x[:, 1:], rest)
    out = torch.cat([x[:, :1], pick(x[:, 1:], chosen), fused], 1)
    return out, torch.ones_like(out[..., :1])


def keep_logits(x, p):
    """DynamicViT's predictor: half of the channels are the patch's own, the mean of the others is everybody's."""
    width = x.shape[-1]
    y = F.gelu(F.linear(F.layer_norm(x, (width,), p["norm.weight"], p["norm.bias"]), p["embed.weight"], p["embed.bias"]))
    half = width // 2
    y = torch.cat([y[..., :half], (y[..., half:].mean(1, True) + 1e-6).expand(-1, y.shape[1], -1)], -1)
    for k in range(2):
        y = F.gelu(F.linear(y, p[f"out.{k}.weight"], p[f"out.{k}.bias"]))
    return F.log_softmax(F.linear(y, p["out.2.weight"], p["out.2.bias"]), -1)


def dynamicvit(x, size, keep, look):
    return best_of(x, size, keep_logits(x[:, 1:], look.p)[..., 0], keep)


def ats(x, size, keep, look):
    """For each of evenly spread points of the cumulative score the nearest patch, each once."""
    score = (look.attention[:, :, 0, 1:] * look.values[:, :, 1:].norm(dim=-1)).sum(1)
    score = score * (size[:, 1:, 0] > 0)
    score = score / score.sum(1, True)
    points = (2 * torch.arange(keep) + 1) / (2 * keep)
    distance = (score.cumsum(1)[:, None] - points[:, None]).abs()
    nearest = distance.masked_fill((score == 0)[:, None], torch.inf).argmin(-1)
    stays = torch.zeros_like(score, dtype=torch.bool).scatter_(1, nearest, True)
    order = (~stays).to(torch.int8).argsort(dim=-1, stable=True)[:, :keep]
    real = stays.gather(1, order)[..., None]
    return behind_class(x, size, pick(x[:, 1:], order) * real, real.to(x.dtype))


def fixed_pattern(x, size, keep, look):
    """The patches nearest to the middle of the image."""
    left = look.state.get("left", torch.arange(x.shape[1] - 1))
    side = look.state.setdefault("side", int((x.shape[1] - 1) ** 0.5 + 0.5))
    middle = torch.arange(side) - (side - 1) / 2
    distance = (middle[:, None] ** 2 + middle**2).sqrt().flatten()[left]
    order = distance.argsort(dim=0, stable=True)[:keep].sort()[0]
    look.state["left"] = left[order]
    order = order.expand(len(x), -1)
    return behind_class(x, size, pick(x[:, 1:], order), pick(size[:, 1:], order))


def slimming_shares(x, p):
    y = F.layer_norm(x, x.shape[-1:], p["norm.weight"], p["norm.bias"])
    y = F.linear(F.gelu(F.linear(y, p["fc1.weight"], p["fc1.bias"])), p["fc2.weight"], p["fc2.bias"])
    return (y * p["scale"].view(1, 1, 1)).transpose(1, 2).softmax(-1)


def soft(x, size, patches):
    return behind_class(x, size, patches, torch.ones_like(patches[..., :1]))


def sit(x, size, keep, look):
    return soft(x, size, slimming_shares(x[:, 1:], look.p) @ x[:, 1:])


def merge_patches(x, p, scaled=False):
    x = F.layer_norm(x, x.shape[-1:], p["norm.weight"], p["norm.bias"])
    logits = p["queries"] @ x.transpose(1, 2)
    return (logits * x.shape[-1] ** -0.5 if scaled else logits).softmax(-1) @ x


def patchmerger(x, size, keep, look):
    return soft(x, size, merge_patches(x[:, 1:], look.p))


def transport(scores, epsilon=1.0, iterations=3):
    """Sinkhorn's iterations on logarithms; all masses 1 / (rows + columns), which the result is freed of."""
    cost = scores / epsilon
    mass = -float(np.log(sum(scores.shape[1:])))
    u, v = torch.zeros_like(cost[:, :, :1]), torch.zeros_like(cost[:, :1])
    for _ in range(iterations):
        u = mass - (cost + v).logsumexp(2, True)
        v = mass - (cost + u).logsumexp(1, True)
    return (cost + u + v - mass).exp()


def sinkhorn(x, size, keep, look):
    patches = unit(x[:, 1:])
    return soft(x, size, transport(unit(look.p["centres"]) @ patches.transpose(1, 2)) @ patches)


def k_medoids(x, weight, clusters, iterations=3, parity=False):
    """Each cluster's medoid is the member with the least weighted distance to its members (parity: to all tokens, times
    its own weight)."""
    distance = torch.cdist(x, x)
    centres = weight.argsort(dim=-1, descending=True, stable=True)[:, :clusters]
    nearest = lambda centres: pick(distance, centres).argmin(1)
    for _ in range(iterations):
        member = F.one_hot(nearest(centres), clusters).bool()
        if parity:
            cost = (distance.sum(-1) * weight)[..., None].expand(-1, -1, clusters)
        else:
            cost = distance @ (member * weight[..., None])
        best = cost.masked_fill(~member, torch.inf).argmin(1)
        centres = torch.where(member.any(1), best, torch.zeros_like(best) if parity else centres)
    return centres, nearest(centres)


def kmedoids(x, size, keep, look):
    weight = look.attention.sum((1, 2))[:, 1:]
    centres = k_medoids(x[:, 1:], weight, keep)[0].sort(-1)[0]
    return behind_class(x, size, pick(x[:, 1:], centres), pick(size[:, 1:], centres))


def dpc_knn(x, clusters, neighbours=5):
    """Density peaks: the centres, best first, and the cluster of each token."""
    distance = torch.cdist(x, x) / x.shape[-1] ** 0.5
    density = (-(distance.topk(min(neighbours, x.shape[1]), largest=False).values ** 2).mean(-1)).exp()
    denser = density[:, None] > density[..., None]
    peak = torch.where(denser, distance, distance.flatten(1).amax(1)[:, None, None]).amin(-1)
    centres = (peak * density).topk(clusters).indices
    assignment = pick(distance, centres).argmin(1)
    numbers = torch.arange(clusters).expand(len(x), -1)
    return centres, assignment.scatter(1, centres, numbers)


def merge_clusters(x, assignment, clusters):
    total = add_to(torch.zeros(len(x), clusters, x.shape[-1]), assignment, x)
    count = add_to(torch.zeros(len(x), clusters, 1), assignment, torch.ones_like(x[..., :1]))
    return total / (count + 1e-6), count


def dpcknn(x, size, keep, look):
    return behind_class(x, size, *merge_clusters(x[:, 1:], dpc_knn(x[:, 1:], keep)[1], keep))


# of each method: the function, whether it stands before its block, what it looks at, whether attention counts sizes
METHODS = {
    "tome": (tome, False, None, True),
    "kthBipartite": (kth_bipartite, False, None, True),
    "randomBipartite": (random_bipartite, False, None, True),
    "tomesd": (tomesd, False, None, False),
    "pitome": (pitome, False, None, True),
    "tofu": (tofu, False, None, False),
    "mctf": (mctf, False, "all", True),
    "atc": (atc, False, None, True),
    "topk": (topk, False, "class", False),
    "evit": (evit, False, "class", False),
    "dynamicvit": (dynamicvit, True, None, False),
    "ats": (ats, False, "all", False),
    "fixedPattern": (fixed_pattern, False, None, False),
    "sit": (sit, True, None, False),
    "patchmerger": (patchmerger, True, None, False),
    "sinkhorn": (sinkhorn, True, None, False),
    "kmedoids": (kmedoids, True, "all", False),
    "dpcknn": (dpcknn, True, None, False),
}
