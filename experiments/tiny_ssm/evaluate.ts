/**
 * How well a state-space model remembers registers: with all tokens, or with some of them removed before its second block.
 *
 * @module
 */
import type { Registers } from "tessera/data/mod.ts";
import type { Reducer } from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";
import { placesLeft, type TinySSM } from "./models/tiny_ssm.ts";

/** Which tokens stay. */
export type Staying = "random" | "needed" | Reducer;

/** What is removed, and what the state does about it. */
export interface Removal {
  readonly staying: Staying;
  /** Share of the text's tokens that stay, <start> included. */
  readonly keepRate: number;
  readonly gaps: "aware" | "naive";
  /** Block before which tokens go. Default: 1. */
  readonly layer?: number;
  readonly seed?: number;
}

/** Texts that are run together. */
const TOGETHER = 100;

/** Share of right answers. A reducer that merges is given as `merge`. */
export function askRegisters(model: TinySSM, texts: Registers, removal?: Removal, merge?: Reducer): number {
  const { length, questions } = texts, row = length + questions, layer = removal?.layer ?? 1;
  let right = 0;
  for (let first = 0; first < texts.texts; first += TOGETHER) {
    const count = Math.min(TOGETHER, texts.texts - first);
    const best = tidy(() => {
      const tokens = tf.tensor2d(texts.tokens.slice(first * row, (first + count) * row), [count, row], "int32");
      const reduction = merge
        ? { layer, keep: merge }
        : removal && { layer, gaps: removal.gaps, keep: left(model, tokens, texts, first, removal, layer) };
      const { logits } = model.forward(tokens, reduction, questions);
      return logits.slice([0, logits.shape[1] - questions, 0]).argMax(2).dataSync();
    });
    for (let q = 0; q < count * questions; q++) right += Number(best[q] === texts.answer[first * questions + q]);
  }
  return right / texts.texts / questions;
}

function left(
  model: TinySSM,
  tokens: tf.Tensor2D,
  texts: Registers,
  first: number,
  { staying, keepRate, seed = 0 }: Removal,
  layer: number,
): tf.Tensor2D {
  const { length, questions } = texts;
  if (typeof staying !== "string") {
    const hidden = model.forward(tokens).hidden[layer - 1];
    return placesLeft(staying, hidden, layer, model.config.depth, questions);
  }
  const keep = Math.round(keepRate * length);
  const draw = random(seed, `texts from ${first}`);
  const rows = Array.from({ length: tokens.shape[0] }, (_, text) => {
    const needed = texts.needed.subarray((first + text) * questions, (first + text + 1) * questions);
    return placesOf(staying === "needed" ? needed : [], length, keep, draw).concat(
      Array.from({ length: questions }, (_, q) => length + q),
    );
  });
  return tf.tensor2d(rows, undefined, "int32");
}

/** <start>, those that must stay, and as many others as there is room for, drawn; ascending. */
function placesOf(must: ArrayLike<number>, length: number, keep: number, draw: Random): number[] {
  const stays = new Set([0, ...Array.from(must)]);
  for (const place of draw.permutation(length)) {
    if (stays.size >= keep) break;
    stays.add(place);
  }
  return [...stays].sort((a, b) => a - b);
}
