/** Laws of state-space models: parallel and recurrent scans agree, gaps decay, order stays, both streams lose the same. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { gapAwareScan, type SelectiveScan, selectiveScan, selectiveScanStepwise } from "../../lib/nn/selective_scan.ts";
import { applyMap } from "../../lib/nn/token_map.ts";
import { joinLessImportant, stayingPlaces, takeStaying } from "../../lib/reduction/state_space.ts";
import { gatherTokens, tf, tidy } from "../../lib/tensor/mod.ts";

const seeds = Deno.env.get("TESSERA_FULL") === "1" ? 200 : 8;

function randomScan(seed: number): { inputs: SelectiveScan; tokens: number; batch: number } {
  const draw = random(seed, "scan");
  const [batch, tokens, channels, states] = [
    1 + seed % 3,
    [2, 3, 5, 16, 33][seed % 5],
    [1, 3, 8][seed % 3],
    [1, 4][seed % 2],
  ];
  const normal = (...shape: number[]) => tf.tensor(draw.normals(shape.reduce((a, b) => a * b)), shape);
  return {
    batch,
    tokens,
    inputs: {
      u: normal(batch, tokens, channels) as tf.Tensor3D,
      delta: tf.softplus(normal(batch, tokens, channels)) as tf.Tensor3D,
      a: tf.exp(normal(channels, states)).neg() as tf.Tensor2D,
      b: normal(batch, tokens, states) as tf.Tensor3D,
      c: normal(batch, tokens, states) as tf.Tensor3D,
      d: normal(channels) as tf.Tensor1D,
    },
  };
}

function close(actual: tf.Tensor, expected: tf.Tensor, what: string): void {
  assert.deepEqual(actual.shape, expected.shape, what);
  const most = actual.sub(expected).abs().max().dataSync()[0], size = 1 + expected.abs().max().dataSync()[0];
  assert.ok(most <= 1e-4 * size, `${what}: off by ${most}`);
}

for (let seed = 0; seed < seeds; seed++) {
  Deno.test(`selective scans obey their laws, seed ${seed}`, () =>
    tidy(() => {
      const { inputs, tokens, batch } = randomScan(seed);
      const whole = selectiveScan(inputs), stepwise = selectiveScanStepwise(inputs);
      close(stepwise.y, whole.y, "recurrent and parallel outputs");
      close(stepwise.last, whole.last, "recurrent and parallel states");
      const decay = tf.exp(inputs.delta.expandDims(3).mul(inputs.a));
      assert.ok(decay.max().dataSync()[0] <= 1 && decay.min().dataSync()[0] >= 0, "decays lie in (0, 1]");

      const draw = random(seed, "kept");
      const count = 1 + draw.integer(tokens);
      const places = Array.from(
        { length: batch },
        () => draw.permutation(tokens).slice(0, count).sort((a, b) => a - b),
      );
      const kept = tf.tensor2d(places, [batch, count], "int32");
      const stays = tf.oneHot(kept, tokens).sum<tf.Tensor2D>(1);
      const silent = selectiveScan({ ...inputs, u: inputs.u.mul(stays.expandDims(2)) });
      const gap = gapAwareScan(inputs, kept);
      close(gap.y, gatherTokens(silent.y, kept), "gap-aware outputs are those of the whole with silent inputs");
      close(gap.last, silent.last, "and so is the state");
      const all = tf.range(0, tokens, 1, "int32").expandDims<tf.Tensor2D>(0).tile<tf.Tensor2D>([batch, 1]);
      close(gapAwareScan(inputs, all).y, whole.y, "with all kept it is the scan");
      const half = Math.floor(tokens / 2);
      if (half) {
        const part = (x: tf.Tensor3D, from: number, n: number) => x.slice([0, from, 0], [-1, n, -1]) as tf.Tensor3D;
        const some = (from: number, n: number) => ({
          ...inputs,
          u: part(inputs.u, from, n),
          delta: part(inputs.delta, from, n),
          b: part(inputs.b, from, n),
          c: part(inputs.c, from, n),
        });
        const first = selectiveScanStepwise(some(0, half));
        close(
          selectiveScanStepwise(some(half, tokens - half), first.last).last,
          whole.last,
          "a scan can be carried on",
        );
      }
    }));
}

Deno.test("what joins in a state-space model keeps the order, and residual and hidden state lose the same tokens", () => {
  for (let seed = 0; seed < seeds; seed++) {
    tidy(() => {
      const draw = random(seed, "join");
      const tokens = 2 + draw.integer(20), r = draw.integer(Math.floor(tokens / 2) + 1);
      const x = tf.tensor3d(draw.normals(2 * tokens * 3), [2, tokens, 3]);
      const importance = tf.relu(x).sum<tf.Tensor2D>(2);
      for (const causal of [false, true]) {
        const map = joinLessImportant(importance, x, { r, causal });
        const places = stayingPlaces(map).arraySync();
        for (const row of places) assert.deepEqual(row, [...new Set(row)].sort((a, b) => a - b), `seed ${seed}`);
        assert.equal(applyMap(map, x).x.shape[1], takeStaying(map, x).shape[1]);
        assert.equal(places[0].length, tokens - map.budget.achieved);
        if (!causal) continue;
        map.slot.arraySync().forEach((slots, item) =>
          slots.forEach((slot, token) =>
            assert.ok(slot < 0 || places[item][slot] >= token, `seed ${seed}: a token went back`)
          )
        );
      }
    });
  }
});
