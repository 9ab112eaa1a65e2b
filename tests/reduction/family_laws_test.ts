/** Laws of families of methods (specification, sections 5.2 to 5.4) that are about a method's own parts. */
import assert from "node:assert/strict";
import { random } from "../../lib/random.ts";
import { tf, tidy } from "../../lib/tensor/mod.ts";
import { attention, softmaxWithPolicy } from "../../lib/nn/attention.ts";
import { applyMap, combineMatrix, membership } from "../../lib/nn/token_map.ts";
import {
  atcMap,
  bipartiteSoftMatching,
  cellTokens,
  dpcKnn,
  energy,
  fuseInattentive,
  kMedoidsFit,
  mergeIntoCells,
  pruneByScore,
  sampled,
  samplePoints,
  transport,
} from "../../lib/reduction/mod.ts";
import { cosine, squaredDistance } from "../../lib/reduction/similarity.ts";

const seeds = Array.from({ length: 20 }, (_, i) => i + 1);

function tokens(seed: number, shape: [number, number, number]): tf.Tensor3D {
  return tf.tensor3d(random(seed, "families").normals(shape[0] * shape[1] * shape[2]), shape);
}

function apart(a: tf.Tensor, b: tf.Tensor): number {
  return tf.sub(a, b).abs().max().dataSync()[0];
}

Deno.test("M5: attention that counts sizes sees merged twins as it saw both of them; without sizes it does not", () => {
  for (const seed of seeds.slice(0, 5)) {
    tidy(() => {
      const half = tokens(seed, [2, 6, 8]);
      const twins = tf.stack([half, half], 2).reshape<tf.Tensor3D>([2, 12, 8]);
      const linear = (out: number, salt: number) => ({
        weight: tokens(100 * seed + salt, [1, out, 8]).reshape<tf.Tensor2D>([out, 8]),
        bias: tf.zeros<tf.Rank.R1>([out]),
      });
      const parameters = { qkv: linear(24, 1), proj: linear(8, 2) };
      // two of the six pairs merge, so that sizes differ
      const { x, size } = applyMap(bipartiteSoftMatching(twins, { r: 2, classToken: false }), twins);
      assert.deepEqual([...size.dataSync()].sort(), [...Array(16).fill(1), ...Array(4).fill(2)]);
      const whole = attention(twins, parameters, { heads: 2 });
      const map = bipartiteSoftMatching(twins, { r: 2, classToken: false });
      const merged = applyMap(map, whole.x).x;
      assert.ok(apart(attention(x, parameters, { heads: 2, size }).x, merged) < 1e-5);
      assert.ok(apart(attention(x, parameters, { heads: 2 }).x, merged) > 1e-3);
    });
  }
});

Deno.test("M6: merging two tokens and then a third is merging all three", () => {
  tidy(() => {
    const x = tf.tensor3d([[[1, 0], [1, 0.1], [1, 0.3], [0, 1]]]);
    const pair = atcMap(x, { clusters: 3 });
    const first = applyMap(pair, x);
    const then = applyMap(atcMap(first.x, { clusters: 2 }), first.x, first.size);
    const atOnce = applyMap(atcMap(x, { clusters: 2 }), x);
    assert.ok(apart(then.x, atOnce.x) < 1e-6 && apart(then.size, atOnce.size) === 0);
  });
});

Deno.test("M8: every cell of ToMeSD keeps the patch that the others join, whatever goes", () => {
  for (const [grid, cell] of [[[4, 4], [2, 2]], [[5, 7], [2, 3]], [[3, 3], [1, 2]]] as const) {
    tidy(() => {
      const patches = grid[0] * grid[1], joined = cellTokens(grid, cell);
      assert.equal(new Set(joined).size, Math.floor(grid[0] / cell[0]) * Math.floor(grid[1] / cell[1]));
      const row = Array.from({ length: patches }, (_, patch) => joined.includes(patch) ? 1 : 0);
      for (let r = 1; r <= patches - joined.length; r++) {
        const map = mergeIntoCells(tokens(r, [1, patches, 4]), tf.tensor2d([row], undefined, "bool"), { r });
        const stays = map.anchor!.arraySync()[0];
        assert.ok(joined.every((patch) => stays[patch]), `r = ${r}`);
      }
    });
  }
});

Deno.test("M10: PiToMe's energy is the mean similarity where nothing is below the margin, and a twin raises it", () => {
  for (const seed of seeds) {
    tidy(() => {
      const x = tokens(seed, [1, 9, 4]);
      const mean = cosine(x).mean<tf.Tensor2D>(2);
      assert.ok(apart(energy(x, { margin: -1 }), mean.add(1)) < 1e-5); // all cosines are above -1: elu is the identity
      const [alone] = energy(x, { margin: 0.5 }).arraySync();
      const withTwin = tf.concat([x, x.slice([0, 3, 0], [1, 1, 4])], 1) as tf.Tensor3D;
      assert.ok(energy(withTwin, { margin: 0.5 }).arraySync()[0][3] > alone[3], `seed ${seed}`);
    });
  }
});

Deno.test("M11: clusters hold their centres, everyone is with the nearest, and a medoid is the best of its members", () => {
  for (const seed of seeds) {
    tidy(() => {
      const x = tokens(seed, [2, 15, 3]);
      const distance = tf.sqrt(squaredDistance(x, x)).arraySync() as number[][][];
      const counts = random(seed, "weights").normals(30).map((value) => Math.abs(value) + 0.1);
      const weight = tf.tensor2d(Float32Array.from(counts), [2, 15]);
      const found = {
        "DPC-KNN": dpcKnn(x, { clusters: 4 }),
        "K-Medoids": kMedoidsFit(x, { clusters: 4, iterations: 30, weight }),
      };
      for (const [name, { centres, assignment }] of Object.entries(found)) {
        for (const [image, row] of assignment.arraySync().entries()) {
          const centre = centres.arraySync()[image];
          centre.forEach((token, cluster) => assert.equal(row[token], cluster, `${name}, seed ${seed}`));
          row.forEach((cluster, token) => {
            const own = distance[image][token][centre[cluster]];
            assert.ok(centre.every((other) => own <= distance[image][token][other] + 1e-5), `${name}, seed ${seed}`);
          });
          if (name === "DPC-KNN") continue;
          const cost = (candidate: number, cluster: number) =>
            row.reduce(
              (sum, c, j) => c === cluster ? sum + counts[15 * image + j] * distance[image][candidate][j] : sum,
              0,
            );
          row.forEach((cluster, token) =>
            assert.ok(cost(centre[cluster], cluster) <= cost(token, cluster) + 1e-4, `seed ${seed}: ${token}`)
          );
        }
      }
    });
  }
});

Deno.test("P2: the least score that stays is not below the highest that goes", () => {
  for (const seed of seeds) {
    tidy(() => {
      const score = tokens(seed, [1, 3, 20]).squeeze<tf.Tensor2D>([0]);
      const { slot } = pruneByScore(score, { keep: 7 });
      const stays = tf.greaterEqual(slot, tf.scalar(0, "int32"));
      const least = tf.where(stays, score, tf.fill([3, 20], Infinity)).min(1).arraySync() as number[];
      const most = tf.where(stays, tf.fill([3, 20], -Infinity), score).max(1).arraySync() as number[];
      least.forEach((value, row) => assert.ok(value >= most[row], `seed ${seed}`));
    });
  }
});

Deno.test("P3: EViT's package holds exactly those that do not stay, by attention; normalised, its weights sum to 1", () => {
  for (const seed of seeds) {
    tidy(() => {
      const looks = tf.softmax(tokens(seed, [1, 2, 12]).squeeze<tf.Tensor2D>([0]));
      const kept = (pruneByScore(looks, { keep: 5 }).slot.arraySync()).map((row) => row.map((slot) => slot >= 0));
      for (const parity of [true, false]) {
        const rows = combineMatrix(fuseInattentive(looks, { keep: 5, parity })).arraySync();
        rows.forEach((matrix, image) => {
          const package_ = matrix[5];
          package_.forEach((share, patch) => assert.equal(share > 0, !kept[image][patch]));
          const sum = package_.reduce((a, b) => a + b);
          assert.ok(parity ? sum < 1 : Math.abs(sum - 1) < 1e-5, `${sum}`);
        });
      }
    });
  }
});

Deno.test("P5: under DynamicViT's policy a dropped token is seen by itself alone, and with all kept it is the softmax", () => {
  tidy(() => {
    const logits = tokens(1, [2, 6, 6]).expandDims<tf.Tensor4D>(1);
    const all = softmaxWithPolicy(logits, tf.ones<tf.Rank.R2>([2, 6]));
    assert.ok(apart(all, tf.softmax(logits)) < 1e-5);
    const policy = tf.tensor2d([[1, 1, 0, 1, 1, 1], [1, 1, 0, 1, 1, 1]]);
    const column = softmaxWithPolicy(logits, policy, 0).arraySync() as number[][][][];
    column.forEach(([rows]) => rows.forEach((row, query) => assert.equal(row[2] > 0, query === 2)));
    const pull = tf.grad((policy) => softmaxWithPolicy(logits, policy as tf.Tensor2D).square().sum())(policy);
    assert.ok(pull.abs().min().dataSync()[0] > 0, "a token gets no gradient");
  });
});

Deno.test("P6: ATS keeps at most as many as it has points, one where one has all, all where all are alike", () => {
  const count = (row: number[], points: number) =>
    tidy(() => sampled(tf.tensor2d([row]), samplePoints(points)).sum().arraySync());
  assert.equal(count([0, 0, 1, 0, 0], 4), 1);
  assert.equal(count(Array(7).fill(1), 7), 7);
  for (const seed of seeds) {
    const row = [...random(seed, "scores").normals(20)].map(Math.abs);
    for (const points of [1, 3, 8, 20]) assert.ok(Number(count(row, points)) <= points);
  }
});

Deno.test("P11: the nearest kept token stands better for a dropped one than zeros exactly when their cosine is above a half", () => {
  for (const seed of seeds) {
    tidy(() => {
      const x = tokens(seed, [1, 12, 3]);
      const unit = tf.div<tf.Tensor3D>(x, tf.norm(x, 2, 2, true));
      const alike = cosine(unit).arraySync()[0], far = squaredDistance(unit, unit).arraySync()[0];
      for (let dropped = 6; dropped < 12; dropped++) {
        const nearest = [0, 1, 2, 3, 4, 5].reduce((a, b) => alike[dropped][b] > alike[dropped][a] ? b : a);
        if (Math.abs(alike[dropped][nearest] - 0.5) < 1e-4) continue;
        assert.equal(far[dropped][nearest] < 1, alike[dropped][nearest] > 0.5, `seed ${seed}`);
      }
    });
  }
});

Deno.test("S: transport gives each token away whole, to each output the same in the end, and cold it is a choice", () => {
  for (const seed of seeds.slice(0, 5)) {
    tidy(() => {
      const scores = tokens(seed, [2, 3, 9]);
      assert.ok(apart(transport(scores).sum(1), tf.ones([2, 9])) < 1e-5);
      assert.ok(apart(transport(scores, { iterations: 200 }).sum(2), tf.fill([2, 3], 3)) < 1e-3);
      const cold = transport(scores, { epsilon: 0.002, iterations: 1 });
      assert.ok(cold.max(1).min().dataSync()[0] > 0.5, "a token is torn although it is cold");
      const one = transport(tokens(seed, [2, 1, 9]));
      assert.ok(apart(one, tf.onesLike(one)) < 1e-5); // a single output takes all of each
    });
  }
});

Deno.test("what each family's map does to mass is what its name says", () => {
  tidy(() => {
    const x = tokens(1, [2, 11, 4]);
    const merged = membership(bipartiteSoftMatching(x, { r: 4 })).sum(1);
    assert.ok(apart(merged, tf.onesLike(merged)) === 0);
    const pruned = membership(pruneByScore(x.sum<tf.Tensor2D>(2), { keep: 5 })).sum(1);
    assert.deepEqual(pruned.sum(1).arraySync(), [5, 5]);
  });
});
