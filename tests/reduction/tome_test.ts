/** ToMe on inputs small enough to follow; groups from the authors' code (specification of reduction, appendix A.2). */
import assert from "node:assert/strict";
import { mulberry32 } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { applyMap, composeMaps, type SlotMap, unmerge } from "../../lib/nn/token_map.ts";
import { bipartiteSoftMatching, kthBipartiteSoftMatching, tome } from "../../lib/reduction/mod.ts";

/** The specification's U(seed; shape): 2u - 1, row by row. */
function uniform(seed: number, shape: [number, number, number]): tf.Tensor3D {
  const next = mulberry32(seed);
  return tf.tensor3d(Float32Array.from({ length: shape[0] * shape[1] * shape[2] }, () => 2 * next() - 1), shape);
}

/** Original tokens in each output, as the appendix prints them: "(0,1,8)(3)". */
function groups(map: SlotMap): string {
  const slot = map.slot.arraySync()[0];
  const members = Array.from(
    { length: map.outputs },
    (_, output) => slot.flatMap((s, token) => s === output ? [token] : []),
  );
  return members.map((group) => `(${group})`).join("");
}

Deno.test("bipartiteSoftMatching() groups tokens as the authors' code does, in its order", () => {
  const cases = [
    [{ r: 1 }, "(8)(6)(0)(2)(4)(1)(3)(5,10)(7)(9)(11)"],
    [{ r: 3 }, "(0)(2)(4)(1,8)(3)(5,10)(7)(6,9)(11)"],
    [{ r: 99 }, "(0,1,8)(3)(4,5,10)(7)(2,6,9)(11)"],
    [{ r: 1, classToken: true }, "(0)(2)(4)(6)(8)(1)(3)(5,10)(7)(9)(11)"],
    [{ r: 3, classToken: true }, "(0)(2)(4)(1,8)(3)(5,10)(7)(6,9)(11)"],
    [{ r: 99, classToken: true }, "(0)(1,8)(3)(4,5,10)(7)(2,6,9)(11)"],
    [{ r: 1, classToken: true, distillToken: true }, "(0)(1)(2)(4)(6)(8)(3)(5,10)(7)(9)(11)"],
    [{ r: 3, classToken: true, distillToken: true }, "(0)(1)(4)(8)(3)(5,10)(7)(2,6,9)(11)"],
    [{ r: 99, classToken: true, distillToken: true }, "(0)(1)(3)(4,5,10)(7,8)(2,6,9)(11)"],
  ] as const;
  for (const [options, expected] of cases) {
    tidy(() => {
      const map = bipartiteSoftMatching(uniform(1, [1, 12, 4]), { classToken: false, parity: true, ...options });
      assert.equal(groups(map), expected, JSON.stringify(options));
    });
  }
});

Deno.test("bipartiteSoftMatching() makes the same groups with and without parity", () => {
  tidy(() => {
    const metric = uniform(1, [1, 12, 4]);
    const sorted = (map: SlotMap) => groups(map).split(/(?<=\))/).sort();
    for (const r of [1, 3, 5]) {
      const ours = bipartiteSoftMatching(metric, { r }), theirs = bipartiteSoftMatching(metric, { r, parity: true });
      assert.deepEqual(sorted(ours), sorted(theirs));
    }
  });
});

Deno.test("two layers of ToMe compose as in the authors' code", () => {
  tidy(() => {
    const x = uniform(2, [1, 12, 2]);
    const first = bipartiteSoftMatching(uniform(1, [1, 12, 4]), { r: 3, parity: true });
    const one = applyMap(first, x);
    const second = bipartiteSoftMatching(uniform(3, [1, 9, 4]), { r: 3, parity: true });
    assert.equal(groups(second), "(0)(8)(1)(3,6)(5)(2,4,7)");
    const two = applyMap(second, one.x, one.size);
    assert.deepEqual(two.size.arraySync(), [[1, 1, 1, 3, 2, 4]]);
    const expected = [[.4685, -.35], [-.744, -.6161], [.7506, .2617], [.0259, -.3029], [.7011, -.7363], [
      .3383,
      -.3273,
    ]];
    const difference = tf.sub(two.x, tf.tensor3d([expected])).abs().max().dataSync()[0];
    assert.ok(difference < 1e-4, `${difference}`);
    assert.equal(groups(composeMaps(first, second)), "(0)(11)(2)(1,7,8)(5,10)(3,4,6,9)");
    const rows = tf.range(0, 9).reshape<tf.Tensor3D>([1, 9, 1]);
    assert.deepEqual(unmerge(first, rows).flatten().arraySync(), [0, 3, 1, 4, 2, 5, 7, 6, 3, 7, 5, 8]);
  });
});

Deno.test("bipartiteSoftMatching() with equal similarities takes the lower token, and a vector of zeros breaks nothing", () => {
  tidy(() => {
    const same = bipartiteSoftMatching(tf.ones<tf.Rank.R3>([1, 6, 2]), { r: 1, classToken: false });
    assert.equal(groups(same), "(0,1)(2)(3)(4)(5)");
    const zeros = bipartiteSoftMatching(tf.zeros<tf.Rank.R3>([1, 6, 2]), { r: 2, classToken: false });
    assert.equal(groups(zeros), "(0,1,2)(3)(4)(5)");
  });
});

Deno.test("bipartiteSoftMatching() can begin set A with the odd tokens, and still leaves the class token alone", () => {
  tidy(() => {
    const metric = tf.tensor3d([[[1, 0], [1, 0], [0.9, 0.1], [0, 1]]]);
    assert.equal(groups(bipartiteSoftMatching(metric, { r: 1, firstOfA: 1 })), "(0)(1,2)(3)");
    for (const tokens of [3, 4, 5, 6, 7]) {
      const map = bipartiteSoftMatching(uniform(tokens, [1, tokens, 3]), { r: 99, firstOfA: 1 });
      assert.equal(map.outputs, tokens - Math.floor((tokens - 1) / 2));
      assert.ok(groups(map).startsWith("(0)"));
    }
  });
});

Deno.test("bipartiteSoftMatching() says what was asked and what was done", () => {
  tidy(() => {
    const { budget } = bipartiteSoftMatching(uniform(1, [1, 12, 4]), { r: 99 });
    assert.deepEqual(budget, {
      requested: 99,
      achieved: 5,
      clampedBy: "at most half of the 11 unprotected tokens can merge at once",
    });
    assert.throws(
      () => bipartiteSoftMatching(uniform(1, [1, 4, 2]), { r: -1 }),
      /^RangeError: r must be a whole number of pairs from 0, but it is -1; to merge nothing, pass 0$/,
    );
    assert.throws(() => bipartiteSoftMatching(uniform(1, [1, 4, 2]), { r: 1.5 }), /but it is 1.5/);
  });
});

Deno.test("kthBipartiteSoftMatching() lets tokens beyond the last group join; parity drops them", () => {
  tidy(() => {
    const metric = tf.tensor3d([[[1, 0], [0, 1], [0, 1], [1, 0], [0, 1]]]);
    assert.equal(groups(kthBipartiteSoftMatching(metric, { k: 2 })), "(1,2,4)(0,3)");
    assert.equal(groups(kthBipartiteSoftMatching(metric, { k: 2, parity: true })), "(1,2)(0,3)");
    assert.equal(groups(kthBipartiteSoftMatching(metric, { k: 1 })), "(0)(1)(2)(3)(4)");
    for (const k of [0, 6, 1.5]) assert.throws(() => kthBipartiteSoftMatching(metric, { k }), RangeError);
  });
});

Deno.test("the trace of a ViT-L with r = 25 saturates as the authors' does", () => {
  const reducer = tome({ r: 25 });
  const trace = [577];
  for (let layer = 0; layer < 24; layer++) {
    const tokens = trace.at(-1)!;
    const place = { layer, layers: 24, tokens, initialTokens: 577, specialTokens: 1, grid: [24, 24] as const };
    trace.push(tokens - reducer.plan(place).achieved);
  }
  assert.deepEqual(trace.slice(-3), [27, 14, 8]);
});
