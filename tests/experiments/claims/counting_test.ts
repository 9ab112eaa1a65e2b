import assert from "node:assert/strict";
import { arms, CELLS, COLOURS, counter, forward, grids, MOST } from "../../../experiments/claims/counting/model.ts";
import { applyMap, type AttentionResult } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { tf } from "../../../lib/tensor/mod.ts";

Deno.test("a grid's labels are what its cells say", () => {
  const { x, colours, majority, red } = grids(20, random(1), 0);
  for (let i = 0; i < 20; i++) {
    const own = [...colours.subarray(i * CELLS, (i + 1) * CELLS)];
    const counts = Array.from({ length: COLOURS }, (_, colour) => own.filter((one) => one === colour).length);
    assert.equal(red[i], Math.min(MOST, counts[0]));
    assert.equal(counts[majority[i]], Math.max(...counts));
    assert.ok(own.every((colour, cell) => x[(i * CELLS + cell) * COLOURS + colour] === 1.5));
  }
});

Deno.test("a linear read-out of sizes times tokens is exact where nothing is lost: merges of equal cells, into 16", () => {
  const { count, x, colours } = grids(8, random(2), 0);
  const cells = tf.tensor3d(x, [count, CELLS, COLOURS]);
  const truth = Array.from(
    { length: count },
    (_, i) => colours.subarray(i * CELLS, (i + 1) * CELLS).filter((c) => !c).length,
  );
  const looked = { keys: cells.expandDims<tf.Tensor4D>(1) } as AttentionResult;
  const half = applyMap(arms.tome.map!(cells, looked, 32, 0), cells);
  const again = { keys: half.x.expandDims<tf.Tensor4D>(1) } as AttentionResult;
  const { x: tokens, size } = applyMap(arms.tome.map!(half.x, again, 16, 1), half.x, half.size);
  assert.equal(tokens.shape[1], 16);
  const read = tf.mul(tokens, size.expandDims(2)).sum<tf.Tensor2D>(1).slice([0, 0], [-1, 1]).div(1.5).dataSync();
  truth.forEach((red, i) => assert.ok(Math.abs(read[i] - red) < 1e-4, `${read[i]} is not ${red}`));
});

Deno.test("the ledger: merging and packing hold the red mass through both blocks, pruning loses some", () => {
  const { count, x, colours } = grids(8, random(3));
  const model = counter(1);
  const isRed = tf.tensor2d(Float32Array.from(colours, (colour) => Number(colour === 0)), [count, CELLS]);
  for (const [name, arm] of Object.entries(arms)) {
    const { redMass } = forward(model, tf.tensor3d(x, [count, CELLS, COLOURS]), arm, [32, 16], isRed);
    const [before, , after] = redMass.map((mass) => mass.sum().dataSync()[0]);
    if (name === "top-k" || name === "random") assert.ok(after < before, name);
    else assert.ok(Math.abs(after - before) < 1e-2, name);
  }
});
