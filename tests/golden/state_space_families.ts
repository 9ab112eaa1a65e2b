/**
 * How the golden cases of state-space models are computed here; see `families.ts`.
 *
 * @module
 */
import { gapAwareScan, selectiveScan, selectiveScanStepwise } from "../../lib/nn/selective_scan.ts";
import { applyMap } from "../../lib/nn/token_map.ts";
import { topVimAsAuthors, torAsAuthors } from "../../lib/reduction/state_space.ts";
import { gatherTokens, tf } from "../../lib/tensor/mod.ts";
import { assertClose, type GoldenCase } from "./cases.ts";

type Family = (entry: GoldenCase) => void;

/** Their files have channels before tokens. */
const tokensFirst = (values: unknown) => tf.tensor3d(values as number[][][]).transpose<tf.Tensor3D>([0, 2, 1]);
const channelsFirst = (x: tf.Tensor3D) => x.transpose<tf.Tensor3D>([0, 2, 1]).arraySync();

/** The families of state-space models. */
export const stateSpaceFamilies: Readonly<Record<string, Family>> = {
  "ssm.tor_reduce": ({ params, inputs, outputs }) => {
    const values = tf.tensor3d(inputs.values as number[][][]);
    if (params.preserve_length) throw new Error("a case that keeps the length is not compared here");
    const strategy =
      ({ merge_only: "merge", prune_only: "prune", pumer: "pumer" } as const)[params.strategy as "pumer"];
    const map = torAsAuthors(tf.tensor3d(inputs.metric as number[][][]), { keep: params.keep as number, strategy });
    assertClose(applyMap(map, values).x.arraySync(), outputs.tokens, "tokens");
    const kept = map.anchor!.arraySync().map((row) => row.map(Number));
    assertClose(kept, (outputs.kept_mask as boolean[][]).map((row) => row.map(Number)), "kept_mask");
  },
  "ssm.vim_prune": ({ params, inputs, outputs }) => {
    const kept = topVimAsAuthors(tf.tensor3d(inputs.xai as number[][][]), params.keep_ratio as number);
    for (const stream of ["hidden", "residual"]) {
      const x = tf.tensor3d(inputs[stream] as number[][][]);
      assertClose(gatherTokens(x, kept).arraySync(), outputs[stream], stream);
    }
  },
  "ssm.selective_scan_gap": ({ params, inputs, outputs }) => {
    const delta = tokensFirst(inputs.delta);
    const all = {
      u: tokensFirst(inputs.u),
      delta: params.delta_softplus ? tf.softplus(delta) : delta,
      a: tf.tensor2d(inputs.A as number[][]),
      b: tokensFirst(inputs.B),
      c: tokensFirst(inputs.C),
      d: tf.tensor1d(inputs.D as number[]),
    };
    for (const scan of [selectiveScan, selectiveScanStepwise]) {
      assertClose(channelsFirst(scan(all).y), outputs.full, `full, ${scan.name}`);
    }
    const kept = tf.tensor2d([inputs.keep_idx as number[]], undefined, "int32");
    const gap = gapAwareScan(all, kept);
    assertClose(channelsFirst(gap.y), outputs.gap_aware_at_kept, "gap_aware_at_kept");
    assertClose(gap.last.arraySync(), outputs.gap_aware_last_state, "gap_aware_last_state");
    const some = (x: tf.Tensor3D) => gatherTokens(x, kept);
    const naive = selectiveScan({ ...all, u: some(all.u), delta: some(all.delta), b: some(all.b), c: some(all.c) });
    assertClose(channelsFirst(naive.y), outputs.naive_removal, "naive_removal");
    assertClose(naive.last.arraySync(), outputs.naive_last_state, "naive_last_state");
  },
};
