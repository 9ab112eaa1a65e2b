"""Workloads of the simulated tumour growth: the simulator as a loop over patients in NumPy, its models in PyTorch."""
import copy
import math

import numpy as np
import torch
import torch.nn.functional as F

from common import parameters, pattern, timed
from torch_worker import tensor


def prepare(job):
    if job["kind"] == "simulate":
        return simulated(job)
    batch, steps, hidden = job["batch"], job["steps"], job["hidden"]
    data = {
        "prev_treatments": tensor(900, batch, steps, 4),
        "current_treatments": tensor(901, batch, steps, 4),
        "prev_outputs": tensor(902, batch, steps, 1),
        "outputs": tensor(903, batch, steps, 1),
        "static_features": tensor(904, batch, 1),
        "active_entries": torch.ones(batch, steps, 1),
    }
    masks = [(tensor(salt, batch, hidden) > -0.8).float() / 0.9 for salt in (905, 906, 907)]
    state = {name: torch.from_numpy(value) for name, value in parameters(job["parameters"]).items()}
    if job["kind"] == "crn_step":
        model = CRN(4 + 2, hidden, job["br"], job["fc"])
        model.load_state_dict(state)
        return trained(model, lambda: model.loss(data, 0.5, masks))
    if job["kind"] == "clef_step":
        model = CLEF(4 + 2, hidden, job["br"], job["fc"])
        model.load_state_dict(state)
        return trained(model, lambda: model.loss(data, 10.0, 60.0, masks))
    if job["kind"] == "ct_step":
        model = CausalTransformer(hidden, job["br"], job["fc"], steps)
        model.load_state_dict(state)
        averaged = copy.deepcopy(model).requires_grad_(False)
        return trained(model, lambda: confused(model, averaged, data, 0.01, 0.9))
    raise ValueError(f"no workload {job['kind']}")


def trained(model, forward):
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)

    def step():
        adam.zero_grad(set_to_none=True)
        loss = forward()
        loss.backward()
        adam.step()
        return loss.item()

    losses = []
    first = timed(lambda: losses.append(step()))
    return step, losses + [step(), step()], 1, first


# The simulator -------------------------------------------------------------------------------------------------------

DEADLY_DIAMETER, CELLS_PER_CM3 = 13.0, 5.8e8
DEADLY_VOLUME = math.pi * DEADLY_DIAMETER**3 / 6


def diameter(volume):
    return 2 * (volume / (4 / 3 * np.pi)) ** (1 / 3)


def simulated(job):
    """One patient after the other, one day after the other, with NumPy's arrays and functions."""
    count, days, gamma = job["patients"], job["days"], job["gamma"]
    column = lambda salt, low, high: low + (high - low) * (pattern(salt, count).astype(np.float64) + 1) / 2
    alpha = column(2, 0.02, 0.3)
    initial, beta, beta_c, rho = column(1, 1, 400), alpha / 10, column(3, 0.026, 0.032), column(4, 0.001, 0.012)
    capacity = math.pi * 30.0**3 / 6
    noise = pattern(10, count * days, 0.01).reshape(count, days).astype(np.float64)
    uniform = lambda salt: pattern(salt, count * days, 0.5, 0.5).reshape(count, days)
    recovery, chemo_draws, radio_draws = uniform(11), uniform(12), uniform(13)

    def run():
        volume, concentration, dose = (np.zeros((count, days)) for _ in range(3))
        chemo, radio = np.zeros((count, days)), np.zeros((count, days))
        length = np.zeros(count)
        for i in range(count):
            volume[i, 0] = initial[i]
            for t in range(1, days):
                before = volume[i, t - 1]
                volume[i, t] = before * (
                    1
                    + rho[i] * np.log(capacity / before)
                    - beta_c[i] * concentration[i, t - 1]
                    - (alpha[i] * dose[i, t - 1] + beta[i] * dose[i, t - 1] ** 2)
                    + noise[i, t]
                )
                seen = np.array([diameter(v) for v in volume[i, max(t - 15, 0) : t]]).mean()
                p = 1.0 / (1.0 + np.exp(-gamma / DEADLY_DIAMETER * (seen - DEADLY_DIAMETER / 2)))
                if radio_draws[i, t] < p:
                    radio[i, t] = 1
                    dose[i, t] = 2.0
                given = 0.0
                if chemo_draws[i, t] < p:
                    chemo[i, t] = 1
                    given = 5.0
                concentration[i, t] = concentration[i, t - 1] * 0.5 + given
                length[i] = t
                if volume[i, t] > DEADLY_VOLUME:
                    volume[i, t] = DEADLY_VOLUME
                    break
                if recovery[i, t] < np.exp(-volume[i, t] * CELLS_PER_CM3):
                    volume[i, t] = 0
                    break
        return volume, length, chemo

    volume, length, chemo = run()
    return run, [volume.mean(), length.mean(), chemo.mean()], 1, timed(run)


# Models --------------------------------------------------------------------------------------------------------------


class LSTM(torch.nn.Module):
    """Cells with masks that stay along a sequence: for the output, the hidden state and the cell."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.lstm_layers = torch.nn.ModuleList([torch.nn.LSTMCell(inputs, hidden)])

    def forward(self, x, masks=None):
        cell = self.lstm_layers[0]
        h = c = x.new_zeros(x.shape[0], cell.hidden_size)
        outputs = []
        for step in x.unbind(1):
            h, c = cell(step, (h, c))
            if masks is None:
                outputs.append(h)
            else:
                outputs.append(h * masks[0])
                h, c = h * masks[1], c * masks[2]
        return torch.stack(outputs, 1)


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, slope):
        return -ctx.alpha * slope, None


class Head(torch.nn.Module):
    def __init__(self, hidden, br, fc, treatments=4):
        super().__init__()
        self.linear1 = torch.nn.Linear(hidden, br)
        self.linear2 = torch.nn.Linear(br, fc)
        self.linear3 = torch.nn.Linear(fc, treatments)
        self.linear4 = torch.nn.Linear(br + treatments, fc)
        self.linear5 = torch.nn.Linear(fc, 1)

    def represent(self, encoded):
        return F.elu(self.linear1(encoded))

    def treatment(self, br):
        return self.linear3(F.elu(self.linear2(br)))

    def outcome(self, br, treatment):
        return self.linear5(F.elu(self.linear4(torch.cat([br, treatment], -1))))


def history(data):
    steps = data["prev_outputs"].shape[1]
    fixed = data["static_features"].unsqueeze(1).expand(-1, steps, -1)
    return torch.cat([data["prev_treatments"], data["prev_outputs"], fixed], -1)


def squared_error(predicted, data):
    active = data["active_entries"]
    return ((predicted - data["outputs"]) ** 2 * active).sum() / active.sum()


def over_active(values, data):
    active = data["active_entries"].squeeze(-1)
    return (values * active).sum() / active.sum()


class CRN(torch.nn.Module):
    def __init__(self, inputs, hidden, br, fc):
        super().__init__()
        self.lstm = LSTM(inputs, hidden)
        self.br_treatment_outcome_head = Head(hidden, br, fc)

    def represent(self, data, masks=None):
        return self.br_treatment_outcome_head.represent(self.lstm(history(data), masks))

    def loss(self, data, alpha, masks):
        head, treatments = self.br_treatment_outcome_head, data["current_treatments"]
        br = self.represent(data, masks)
        logits = head.treatment(Reverse.apply(br, alpha))
        error = -(treatments * F.log_softmax(logits, -1)).sum(-1)
        return squared_error(head.outcome(br, treatments), data) + over_active(error, data)


class ConceptHead(torch.nn.Module):
    def __init__(self, width, condition, hidden):
        super().__init__()
        self.gate = torch.nn.Linear(condition, width)
        self.fc1 = torch.nn.Linear(width, hidden)
        self.fc2 = torch.nn.Linear(hidden, 1)

    def forward(self, r, condition, base):
        return F.gelu(self.fc2(F.elu(self.fc1(r * self.gate(condition)))) + 1) * base


class CLEF(torch.nn.Module):
    def __init__(self, inputs, hidden, br, fc):
        super().__init__()
        self.lstm = LSTM(inputs, hidden)
        self.linear1 = torch.nn.Linear(hidden, br)
        self.head = ConceptHead(br, 4, fc)

    def loss(self, data, mean, std, masks):
        r = F.elu(self.linear1(self.lstm(history(data), masks)))
        volume = self.head(r, data["current_treatments"], data["prev_outputs"] * std + mean)
        return squared_error((volume - mean) / std, data)


class Norm(torch.nn.Module):
    """With the unbiased standard deviation."""

    def __init__(self, width):
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(torch.ones(width)), torch.nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return self.weight * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.bias


class Attention(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear_layers = torch.nn.ModuleList(torch.nn.Linear(width, width) for _ in range(3))
        self.layer_norm = Norm(width)

    def forward(self, query, key, near_keys, near_values, hidden, heads=2):
        rows, steps, width = query.shape
        split = lambda x: x.view(rows, steps, heads, -1).transpose(1, 2)
        q, k, v = (split(layer(x)) for layer, x in zip(self.linear_layers, (query, key, key)))
        q = q / math.sqrt(width / heads)
        scores = q @ k.transpose(-1, -2) + torch.einsum("bhqd,qkd->bhqk", q, near_keys)
        weights = scores.masked_fill(hidden, -1e9).softmax(-1)
        found = weights @ v + torch.einsum("bhqk,qkd->bhqd", weights, near_values)
        return self.layer_norm(found.transpose(1, 2).reshape(rows, steps, width) + query)


class FeedForward(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv1d(width, 4 * width, 1), torch.nn.Conv1d(4 * width, width, 1)
        self.layer_norm = Norm(width)

    def forward(self, x):
        apply = lambda x, conv: F.linear(x, conv.weight.squeeze(-1), conv.bias)
        return self.layer_norm(apply(F.relu(apply(x, self.conv1)), self.conv2) + x)


class StreamBlock(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        for name in ("self_attention_o", "self_attention_t", "cross_attention_ot", "cross_attention_to"):
            setattr(self, name, Attention(width))
        self.feed_forwards = torch.nn.ModuleList(FeedForward(width) for _ in range(2))

    def forward(self, t, o, fixed, *shared):
        own_t, own_o = self.self_attention_t(t, t, *shared), self.self_attention_o(o, o, *shared)
        next_t, next_o = self.cross_attention_to(own_t, o, *shared), self.cross_attention_ot(own_o, t, *shared)
        return self.feed_forwards[0](next_t + fixed), self.feed_forwards[1](next_o + fixed)


class Positions(torch.nn.Module):
    def __init__(self, furthest, width):
        super().__init__()
        self.furthest = furthest
        self.embeddings_table = torch.nn.Embedding(2 * furthest + 1, width)

    def forward(self, steps):
        place = torch.arange(steps)
        apart = (place[None] - place[:, None]).clamp(-self.furthest, self.furthest) + self.furthest
        return self.embeddings_table(apart)


class CausalTransformer(torch.nn.Module):
    def __init__(self, hidden, br, fc, steps, heads=2, furthest=15):
        super().__init__()
        self.self_positional_encoding_k = Positions(furthest, hidden // heads)
        self.self_positional_encoding_v = Positions(furthest, hidden // heads)
        self.transformer_blocks = torch.nn.ModuleList([StreamBlock(hidden)])
        self.br_treatment_outcome_head = Head(hidden, br, fc)
        self.treatments_input_transformation = torch.nn.Linear(4, hidden)
        self.outputs_input_transformation = torch.nn.Linear(1, hidden)
        self.static_input_transformation = torch.nn.Linear(1, hidden)

    def represent(self, data):
        steps = data["prev_outputs"].shape[1]
        later = torch.ones(steps, steps, dtype=torch.bool).triu(1)
        hidden = (later | (data["active_entries"] == 0))[:, None]
        near = self.self_positional_encoding_k(steps), self.self_positional_encoding_v(steps)
        t = self.treatments_input_transformation(data["prev_treatments"])
        o = self.outputs_input_transformation(data["prev_outputs"])
        fixed = self.static_input_transformation(data["static_features"])[:, None]
        for block in self.transformer_blocks:
            t, o = block(t, o, fixed, *near, hidden)
        return self.br_treatment_outcome_head.represent((t + o) / 2)


class Through(torch.autograd.Function):
    """A layer with averaged weights, whose gradient goes through the present ones."""

    @staticmethod
    def forward(ctx, x, averaged, shift, present):
        ctx.save_for_backward(present)
        return F.linear(x, averaged, shift)

    @staticmethod
    def backward(ctx, slope):
        return slope @ ctx.saved_tensors[0], None, None, None


def confused(model, averaged, data, alpha, decay):
    """Domain confusion: both groups in one loss, each with the moving average of the other."""
    with torch.no_grad():
        torch._foreach_lerp_(list(averaged.parameters()), list(model.parameters()), 1 - decay)
        seen = averaged.represent(data)
    head, other, treatments = model.br_treatment_outcome_head, averaged.br_treatment_outcome_head, data["current_treatments"]
    br = model.represent(data)
    through = lambda x, name: Through.apply(
        x, getattr(other, name).weight, getattr(other, name).bias, getattr(head, name).weight.detach()
    )
    logits = through(F.elu(through(br, "linear2")), "linear3")
    unsure = over_active(-F.log_softmax(logits, -1).mean(-1), data)
    told = over_active(-(treatments * F.log_softmax(head.treatment(seen), -1)).sum(-1), data)
    return squared_error(head.outcome(br, treatments), data) + alpha * unsure + alpha * told


def golden(case):
    """What is computed for a golden case."""
    params, inputs = case["params"], case["inputs"]
    data = {name: torch.tensor(value, dtype=torch.float32) for name, value in inputs["batch"].items()}
    state = {name: torch.tensor(value, dtype=torch.float32) for name, value in inputs["weights"].items()}
    state.pop("input_transformation.weight", None), state.pop("input_transformation.bias", None)
    hidden, br, fc = params["seq_hidden_units"], params["br_size"], params["fc_hidden_units"]
    if case["name"] == "crn.encoder":
        model = CRN(state["lstm.lstm_layers.0.weight_ih"].shape[1], hidden, br, fc)
    elif case["name"] == "ct.forward":
        steps = data["prev_outputs"].shape[1]
        model = CausalTransformer(hidden, br, fc, steps, params["num_heads"], params["max_relative_position"])
    else:
        raise ValueError(f"no case {case['name']}")
    model.load_state_dict(state)
    return model.br_treatment_outcome_head.outcome(model.represent(data), data["current_treatments"])
