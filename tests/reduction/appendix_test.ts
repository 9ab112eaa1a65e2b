/** The specification's own inputs and numbers (appendix A), from the generator that it names. */
import assert from "node:assert/strict";
import { mulberry32 } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { applyMap, type SlotMap, unmerge } from "../../lib/nn/token_map.ts";
import {
  bipartiteSoftMatching,
  cellTokens,
  dpcKnn,
  energy,
  fuse,
  kMedoidsFit,
  mergeIntoCells,
  mlerp,
  piToMeMatching,
} from "../../lib/reduction/mod.ts";

/** U(seed; shape): 2u - 1, row by row. */
function uniform<T extends tf.Tensor>(seed: number, shape: number[]): T {
  const next = mulberry32(seed);
  const length = shape.reduce((a, b) => a * b);
  return tf.tensor(Float32Array.from({ length }, () => 2 * next() - 1), shape) as T;
}

function groups(map: SlotMap): string {
  const [slot] = map.slot.arraySync();
  return Array.from(
    { length: map.outputs },
    (_, output) => `(${slot.flatMap((s, token) => s === output ? [token] : [])})`,
  ).join("");
}

Deno.test("A.3: ToMeSD groups a 4 x 4 and a 3 x 5 grid as the authors' code does", () => {
  tidy(() => {
    const cases: [number, readonly [number, number], number, string][] = [
      [4, [4, 4], 4, "(7)(13)(11)(15)(4)(3)(6)(5)(0)(2,14)(8)(1,9,10,12)"],
      [4, [4, 4], 8, "(4)(3)(6)(5)(0,11)(2,14)(7,8,13,15)(1,9,10,12)"],
      [4, [4, 4], 12, "(0,5,11)(2,3,6,14)(7,8,13,15)(1,4,9,10,12)"],
      [5, [3, 5], 4, "(14)(3)(13)(6)(7)(9)(5)(10)(1)(0,8,11)(2,4,12)"],
    ];
    for (const [seed, grid, r, expected] of cases) {
      const tokens = grid[0] * grid[1];
      const cells = cellTokens(grid, [2, 2]);
      const row = Array.from({ length: tokens }, (_, token) => cells.includes(token) ? 1 : 0);
      const metric = uniform<tf.Tensor3D>(seed, [1, tokens, 4]);
      const map = mergeIntoCells(metric, tf.tensor2d([row], undefined, "bool"), { r, parity: true });
      assert.equal(groups(map), expected, `r = ${r}`);
    }
  });
});

Deno.test("A.4: PiToMe's energies and groups are the authors'", () => {
  tidy(() => {
    const metric = uniform<tf.Tensor3D>(6, [1, 12, 4]);
    const printed = [
      ...[-.3687, -.2803, -.3251, -.3182, -.3808, -.1988, -.1868, -.2433, -.2889, -.2314, -.2353, -.3736],
    ];
    const [row] = energy(metric, { margin: 0.5 }).arraySync();
    assert.deepEqual(row.map((value) => value.toFixed(4)), printed.map((value) => value.toFixed(4)));
    const at = (r: number, pairing: "alternate" | "dense") =>
      groups(piToMeMatching(metric, { r, margin: 0.5, pairing, parity: true }));
    assert.equal(at(3, "alternate"), "(2)(11)(9)(5,6,7)(10)(1)(3,8)(0)(4)");
    assert.equal(at(3, "dense"), "(8)(3)(2)(0)(11)(4)(5,6,7,9)(10)(1)");
    for (const pairing of ["alternate", "dense"] as const) {
      assert.equal(at(6, pairing), "(5,6,7,9)(10,11)(1)(3,8)(0,2)(4)");
    }
  });
});

Deno.test("A.5: DPC-KNN and K-Medoids, as the code and as the textbook has them", () => {
  tidy(() => {
    const x = uniform<tf.Tensor3D>(7, [1, 14, 3]);
    const { centres, assignment, density } = dpcKnn(x, { clusters: 4, neighbours: 5 });
    assert.deepEqual(centres.arraySync()[0].toSorted((a, b) => a - b), [3, 5, 6, 9]);
    const inOrder = centres.arraySync()[0].map((centre) => [3, 5, 6, 9].indexOf(centre));
    const numbered = assignment.arraySync()[0].map((cluster) => inOrder[cluster]);
    const printed = [1, 0, 1, 0, 0, 1, 2, 0, 1, 3, 1, 3, 0, 0];
    // the appendix numbers clusters in the order of the centres that it prints
    assert.deepEqual(numbered, printed);
    assert.deepEqual(density.arraySync()[0].slice(0, 4).map((value) => value.toFixed(4)), [
      ...["0.6496", "0.8888", "0.8899", "0.9262"],
    ]);
    const weight = uniform<tf.Tensor2D>(8, [1, 14]).add(1).div<tf.Tensor2D>(2);
    const theirs = kMedoidsFit(x, { clusters: 4, iterations: 3, weight, parity: true });
    assert.deepEqual(theirs.centres.arraySync(), [[10, 13, 9, 7]]);
    assert.deepEqual(theirs.assignment.arraySync(), [[2, 0, 0, 3, 3, 0, 1, 3, 0, 2, 0, 0, 3, 1]]);
    const textbook = kMedoidsFit(x, { clusters: 4, iterations: 3, weight });
    assert.deepEqual(textbook.centres.arraySync(), [[6, 3, 5, 1]]);
    assert.deepEqual(textbook.assignment.arraySync(), [[2, 3, 2, 1, 3, 2, 0, 1, 2, 2, 3, 3, 1, 1]]);
  });
});

Deno.test("A.15: MCTF fuses three of twelve tokens as its code does", () => {
  tidy(() => {
    const size = tf.tensor2d([Array.from({ length: 12 }, (_, i) => i === 3 ? 4 : i === 8 ? 2 : 1)]);
    const attention = tf.softmax(uniform<tf.Tensor4D>(31, [1, 2, 12, 12]).mul<tf.Tensor4D>(2));
    const temperatures = { similarity: 1, information: 1, size: 1 };
    const metric = uniform<tf.Tensor3D>(6, [1, 12, 4]);
    const map = fuse(metric, attention, size, { r: 3, specialTokens: 1, temperatures, parity: true });
    assert.equal(groups(map), "(0)(2)(4)(8)(5,6,9,10)(11)(7)(1)(3)");
  });
});

Deno.test("ToMe is monotone: one pair more merges what fewer pairs merge, and one", () => {
  tidy(() => {
    for (let seed = 1; seed <= 20; seed++) {
      const metric = uniform<tf.Tensor3D>(seed, [1, 17, 4]);
      let before: number[] = [];
      for (let r = 1; r <= 8; r++) {
        const { anchor } = bipartiteSoftMatching(metric, { r });
        const gone = (anchor!.arraySync()[0] as unknown as number[]).flatMap((stays, token) => stays ? [] : [token]);
        assert.equal(gone.length, r);
        assert.ok(before.every((token) => gone.includes(token)), `seed ${seed}, r = ${r}`);
        before = gone;
      }
    }
  });
});

Deno.test("merging twice is merging at once, and MLERP is as long as the longest", () => {
  tidy(() => {
    const x = uniform<tf.Tensor3D>(3, [1, 12, 3]);
    const map = bipartiteSoftMatching(uniform<tf.Tensor3D>(1, [1, 12, 4]), { r: 5 });
    const lengths = tf.norm(x, 2, 2).arraySync() as number[][];
    const merged = tf.norm(applyMap(mlerp(map), x).x, 2, 2).arraySync() as number[][];
    map.slot.arraySync()[0].forEach((slot, token) => assert.ok(merged[0][slot] >= lengths[0][token] - 1e-5));
    const once = unmerge(map, applyMap(map, x).x);
    assert.ok(tf.sub(unmerge(map, applyMap(map, once).x), once).abs().max().dataSync()[0] < 1e-6);
  });
});
