"""Workloads of `editing`: CLEF, in PyTorch.

Li et al., ICLR 2026, arXiv:2502.03569, in the form of the authors' code: a causal, post-norm Transformer over the raw
records, the mean of the history as base state, the condition decoder applied twice.
"""
import datetime
import math
import time

import torch
import torch.nn.functional as F

from torch_worker import filled, given, inferred, tensor

TABLES = {"embed_month": 13, "embed_day": 32, "embed_time": 25}
INPUT_DROPOUT, DROPOUT = 0.5, 0.1


def prepare(job):
    config = job["config"]
    model = CLEF(
        config["variables"],
        config["conditionWidth"],
        config["encoder"]["heads"],
        config["encoder"]["layers"],
        config["records"],
        config["feedForward"],
    )
    filled(model, job["parameters"])
    return training(job, model) if job["kind"] == "clef_step" else generating(job, model)


class Time(torch.nn.Module):
    """Month, day and hour by tables; where a record stands in the history by a sinusoid, sines before cosines."""

    def __init__(self, width, records):
        super().__init__()
        for name, rows in TABLES.items():
            setattr(self, name, torch.nn.Embedding(rows, width))
        angles = torch.arange(records)[:, None] / 10000 ** (torch.arange(0, width, 2) / width)
        self.register_buffer("positions", torch.cat([angles.sin(), angles.cos()], 1), persistent=False)

    def forward(self, calendar):
        month, day, hour = calendar.unbind(-1)
        return self.embed_month(month) + self.embed_day(day) + self.embed_time(hour)


class Encoder(torch.nn.Module):
    def __init__(self, width, heads, layers, records):
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(width, heads, width, DROPOUT, batch_first=True)
        norm = torch.nn.LayerNorm(width)
        self.encoder = torch.nn.TransformerEncoder(layer, layers, norm, enable_nested_tensor=False)
        self.decoder = torch.nn.Linear(width, width)
        self.pos_encoder = Time(width, records)
        self.layer_norm = torch.nn.LayerNorm(width)

    def forward(self, x, missing, calendar):
        records = x.shape[1]
        tokens = x + self.pos_encoder(calendar) + self.pos_encoder.positions[:records]
        e = self.layer_norm(F.dropout(tokens, INPUT_DROPOUT, self.training))
        # as the authors have it, a number that is added to the scores; where it is nowhere needed, without
        empty = missing.all(-1)
        empty = empty.to(x.dtype) if empty.any() else None
        causal = torch.nn.Transformer.generate_square_subsequent_mask(records)
        e = self.encoder(e, mask=causal, src_key_padding_mask=empty, is_causal=True)
        return self.decoder(e[:, -1])


class CLEF(torch.nn.Module):
    def __init__(self, width, condition, heads, layers, records, feed_forward):
        super().__init__()
        self.feed_forward = feed_forward
        self.encoder = Encoder(width, heads, layers, records)
        self.concept_proj = torch.nn.Linear(width, width)
        self.condition_encoder = torch.nn.Linear(condition, width)
        self.condition_decoder = torch.nn.Linear(width, width)

    def forward(self, x, missing, calendar, target, condition):
        """The state at a moment, target [batch, 3], under a condition."""
        seen = (~missing).to(x.dtype)
        count = seen.sum(1)
        base = torch.where(count > 0, (x * seen).sum(1) / count.clamp(min=1), 1e-10)
        time = self.encoder.pos_encoder
        gap = time(target) - time(calendar[:, -1])
        gate = self.condition_decoder(self.condition_decoder(gap) + self.condition_encoder(condition))
        u = self.encoder(x, missing, calendar) * gate
        return F.gelu(self.concept_proj(u) if self.feed_forward else u) * base


def moments(batch, days):
    """Month, day and hour so many days after a start, which is another one for each subject."""
    start = datetime.datetime(1970, 1, 1)
    at = lambda subject, day: start + datetime.timedelta(hours=1001 * subject + 24 * day)
    fields = lambda moment: [moment.month, moment.day, moment.hour]
    return torch.tensor([[fields(at(subject, day)) for day in days] for subject in range(batch)])


def asked(job):
    batch, c = job["batch"], job["config"]
    records, variables = c["records"], c["variables"]
    missing = tensor(901, batch, records, variables) <= -0.8
    x = (tensor(900, batch, records, variables) + 2).masked_fill(missing, 0)
    target = moments(batch, [records - 1 + job["days"]])[:, 0]
    return x, missing, moments(batch, range(records)), target, tensor(902, batch, c["conditionWidth"])


def generating(job, model):
    model.eval()
    inputs = asked(job)
    return inferred(lambda: model(*inputs))


def training(job, model):
    inputs = asked(job)
    shape = job["batch"], job["config"]["variables"]
    answer, counted = tensor(903, *shape) + 2, tensor(904, *shape) > -0.8
    loss = lambda: F.huber_loss(model(*inputs)[counted], answer[counted])
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    model.eval()
    without = loss()
    without.backward()
    check = [without.item(), math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))]
    model.train()

    def step():
        adam.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        adam.step()
        return value.item()

    start = time.perf_counter()
    step()
    return step, check, 1, (time.perf_counter() - start) * 1e3


def golden(case):
    """What is computed for a golden case."""
    params, inputs = case["params"], case["inputs"]
    model = CLEF(
        params["nfeat"],
        params["condition_sz"],
        params["nhead"],
        params["nlayers"],
        params["ntoken"],
        params["apply_ct_proj"],
    )
    model.load_state_dict({name: torch.tensor(value) for name, value in inputs["weights"].items()})
    model.eval()
    calendar, target = (
        torch.tensor([inputs[dates][field] for field in ("month", "day", "time")]).movedim(0, -1)
        for dates in ("dates", "next_date")
    )
    missing = torch.tensor(inputs["x_mask"])
    return model(given(case, "x"), missing, calendar, target[:, 0], given(case, "condition"))
