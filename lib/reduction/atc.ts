/**
 * Agglomerative token clustering (ATC): merge the two nearest clusters, again and again, until as many are left as are to
 * stay. Nothing is trained, and at very few tokens it loses less than bipartite matching.
 *
 * Haurum et al., "Agglomerative Token Clustering", ECCV 2024, arXiv:2409.11923, section 3. Checked against the authors'
 * code (tests/golden, `atc.cluster_merge`). Differs from the code with a class token, where theirs removes one token fewer
 * than asked, and in the order of outputs, which there is that of a library's labels: ours is that of each cluster's first
 * token.
 *
 * @module
 */
import { need, type Place, type Reducer } from "../nn/reducer.ts";
import type { SlotMap } from "../nn/token_map.ts";
import { tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft } from "./budget.ts";
import { trainingFree } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { cosine } from "./similarity.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";

/** Distance of two clusters: the mean over their pairs, the largest, or the smallest. */
export type Linkage = "average" | "complete" | "single";

/** Options of ATC. */
export type ATCOptions = LayerBudget & {
  /** Default: "average". */
  readonly linkage?: Linkage;
};

/**
 * Clusters of one image by their distances, cut where `clusters` are left. Equal distances: the pair of lower numbers.
 *
 * Keeps for each cluster its nearest later one, so that a merge looks at all pairs of a few rows only: about tokens²
 * comparisons in all.
 *
 * @param distance tokens x tokens numbers, row by row, symmetric; is overwritten.
 * @returns The cluster of each token; clusters are numbered by their first token.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const distance = Float32Array.from([0, 9, 1, 9, 0, 9, 1, 9, 0]);
 * assert.deepEqual(agglomerate(distance, 3, 2, "average"), [0, 1, 0]);
 * ```
 */
export function agglomerate(distance: Float32Array, tokens: number, clusters: number, linkage: Linkage): number[] {
  const size = new Int32Array(tokens).fill(1);
  const joined = Int32Array.from({ length: tokens }, (_, token) => token); // the first token of each token's cluster
  const alive = Array.from({ length: tokens }, (_, token) => token);
  const nearest = new Int32Array(tokens); // of each cluster, among those of higher number
  const far = new Float32Array(tokens);
  const look = (row: number) => {
    let best = Infinity, at = -1;
    for (const other of alive) {
      if (other > row && (distance[row * tokens + other] < best || at < 0)) {
        best = distance[row * tokens + other];
        at = other;
      }
    }
    nearest[row] = at;
    far[row] = at < 0 ? Infinity : best;
  };
  for (const row of alive) look(row);
  while (alive.length > clusters) {
    let a = -1;
    for (const row of alive) if (nearest[row] >= 0 && (a < 0 || far[row] < far[a])) a = row;
    const b = nearest[a];
    alive.splice(alive.indexOf(b), 1);
    for (const other of alive) {
      if (other === a) continue;
      const first = distance[a * tokens + other], second = distance[b * tokens + other];
      const together = linkage === "complete"
        ? Math.max(first, second)
        : linkage === "single"
        ? Math.min(first, second)
        : (size[a] * first + size[b] * second) / (size[a] + size[b]);
      distance[a * tokens + other] = together;
      distance[other * tokens + a] = together;
    }
    size[a] += size[b];
    for (let token = 0; token < tokens; token++) if (joined[token] === b) joined[token] = a;
    look(a);
    for (const row of alive) {
      // whoever was nearest to either has to look again; to the others the new cluster may have come nearer
      if (row === a || row > a && row > b) continue;
      if (nearest[row] === a || nearest[row] === b) look(row);
      else if (row < a && (distance[row * tokens + a] < far[row])) look(row);
    }
  }
  const number = new Map(alive.map((first, cluster) => [first, cluster]));
  return Array.from(joined, (first) => number.get(first)!);
}

/**
 * The map of a batch's clusters. Reads the distances back and chooses in a loop: it cannot be traced.
 *
 * As operations on tensors each of the tokens - clusters merges would be a step of its own in the graph (`scan` unrolls), and
 * look at all tokens² distances again, where the loop looks at a few rows: at 1024 patches and keep rate 0.7 that is 308
 * steps over a million distances, and several thousand nodes to compile. Read back, the loop is
 * measured beside SciPy's clustering (experiments/bench, `atc_8x197` and `atc_1x1025`).
 *
 * @param metric [batch, tokens, channels]
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const map = atcMap(tf.tensor3d([[[1, 0], [0, 1], [2, 0.1]]]), { clusters: 2 });
 * assert.deepEqual(map.slot.arraySync(), [[0, 1, 0]]);
 * ```
 */
export function atcMap(
  metric: tf.Tensor3D,
  { clusters, linkage = "average" }: { readonly clusters: number; readonly linkage?: Linkage },
): SlotMap {
  const [batch, tokens] = metric.shape;
  if (!Number.isInteger(clusters) || clusters < 1 || clusters > tokens) {
    throw new RangeError(
      `clusters must be a whole number from 1 to the ${tokens} tokens, but it is ${clusters}; keep at least one`,
    );
  }
  return tidy(() => {
    const distances = tf.sub(1, cosine(metric)).dataSync() as Float32Array;
    const rows = Array.from(
      { length: batch },
      (_, image) =>
        agglomerate(distances.slice(image * tokens ** 2, (image + 1) * tokens ** 2), tokens, clusters, linkage),
    );
    const budget = { requested: tokens - clusters, achieved: tokens - clusters };
    return { kind: "slots", tokens, outputs: clusters, slot: tf.tensor2d(rows, [batch, tokens], "int32"), budget };
  });
}

/**
 * ATC as a reducer, on the keys averaged over heads.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const place = { layer: 3, layers: 12, tokens: 197, initialTokens: 197, specialTokens: 1, grid: [14, 14] as const };
 * assert.equal(atc({ keepRate: 0.25 }).plan(place).achieved, 196 - 49);
 * ```
 */
export function atc(options: ATCOptions): Reducer {
  const { linkage = "average" } = options;
  const left = patchesLeft(options);
  const planned = (place: Place) => pruningBudget(place, left(place));
  return {
    name: "atc",
    needs: ["keys"],
    proportionalAttention: true,
    plan: planned,
    reduce: (view) => {
      const budget = planned(view);
      const { specialTokens, tokens } = view;
      return tidy(() => {
        const keys = need(view, "keys", "atc").mean<tf.Tensor3D>(1).slice([0, specialTokens, 0]) as tf.Tensor3D;
        const clusters = tokens - specialTokens - budget.achieved;
        const map = atcMap(refuseNaNIn(keys, "atc", view), { clusters, linkage });
        return { ...withSpecialTokens(map, specialTokens), budget };
      });
    },
  };
}

/** ATC in the catalogue. */
export const atcMethod = trainingFree(atc, {
  family: "cluster",
  paper: "Haurum et al., Agglomerative Token Clustering, 2024",
  section: "3, arXiv:2409.11923",
  tier: 1,
  traceable: false,
  golden: ["atc.cluster_merge"],
  cost: "n²C multiplications, about n² comparisons in a loop; n² floats read back",
  differs: "from the code in removing as many tokens as asked also with a class token, and in the order",
  breaks: {},
});
