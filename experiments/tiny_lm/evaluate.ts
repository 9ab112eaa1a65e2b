/**
 * How well a model finds hidden facts again: everything in sight, or with a part of the text hidden from the questions.
 *
 * @module
 */
import type { HiddenFacts } from "tessera/data/mod.ts";
import { causalRows, type Llama } from "tessera/nn/mod.ts";
import { type Random, random } from "tessera/random.ts";
import { tf, tidy } from "tessera/tensor/mod.ts";

/** What came of asking. */
export interface Recall {
  /** Share of right answers. */
  readonly recall: number;
  /** The same for facts in the first fifth of their text, ... the last. */
  readonly byDepth: readonly number[];
  /** Who guesses among the things that a text names is right so often. */
  readonly chance: number;
}

/** How a model is asked. */
export interface AskOptions {
  /** Share of the text's tokens, drawn at random for each text, that the questions can look at. Default: 1. */
  readonly keepRate?: number;
  readonly seed?: number;
}

/** Texts that are run together. */
const TOGETHER = 50;

/** Asks all questions of all texts. */
export function askFacts(model: Llama, facts: HiddenFacts, { keepRate = 1, seed = 0 }: AskOptions = {}): Recall {
  const each = facts.asked.length / facts.texts;
  let right = 0, asked = 0, chance = 0;
  const depths = Array.from({ length: 5 }, () => ({ right: 0, asked: 0 }));
  for (let first = 0; first < facts.texts; first += TOGETHER) {
    const texts = Math.min(TOGETHER, facts.texts - first);
    const best = tidy(() => {
      const tokens = tf.tensor2d(
        facts.tokens.slice(first * facts.rowLength, (first + texts) * facts.rowLength),
        [texts, facts.rowLength],
        "int32",
      );
      if (keepRate === 1) return model.forward(tokens).logits.argMax(2).dataSync();
      return hidden(model, tokens, visible(facts, first, texts, keepRate, random(seed, `texts from ${first}`)));
    });
    for (let text = first; text < first + texts; text++) {
      const told = facts.answer.subarray(text * each, text * each + facts.facts[text]);
      for (let q = text * each; facts.asked[q] >= 0 && q < (text + 1) * each; q++) {
        const isRight = Number(best[(text - first) * facts.rowLength + facts.asked[q]] === facts.answer[q]);
        const fifth = depths[Math.min(4, Math.floor(5 * facts.told[q] / facts.lengths[text]))];
        right += isRight;
        fifth.right += isRight;
        asked++;
        fifth.asked++;
        chance += told.filter((thing) => thing === facts.answer[q]).length / told.length;
      }
    }
  }
  return { recall: right / asked, byDepth: depths.map((fifth) => fifth.right / fifth.asked), chance: chance / asked };
}

/** [texts, rows, columns]: 0 where a question's token may not look at a token of the text. */
function visible(facts: HiddenFacts, first: number, texts: number, keepRate: number, draw: Random): tf.Tensor3D {
  const n = facts.rowLength;
  const mask = new Float32Array(texts * n * n).fill(1);
  for (let text = 0; text < texts; text++) {
    const length = facts.lengths[first + text];
    const gone = draw.permutation(length).slice(Math.round(keepRate * length));
    for (let row = length; row < n; row++) for (const column of gone) mask[(text * n + row) * n + column] = 0;
  }
  return tf.tensor3d(mask, [texts, n, n]);
}

function hidden(model: Llama, tokens: tf.Tensor2D, visible: tf.Tensor3D): ReturnType<tf.Tensor["dataSync"]> {
  const count = tokens.shape[1], group = model.config.heads / model.keyHeads;
  const seen = visible.tile([1, group, 1]).expandDims(1);
  const mask = tf.mul(causalRows(count, group), seen);
  const positions = tf.range(0, count, 1, "float32").expandDims<tf.Tensor2D>(0);
  let x = model.embed(tokens);
  for (let layer = 0; layer < model.config.depth; layer++) {
    x = model.block(layer, x, positions, ({ keys, values }) => ({ keys, values, mask })).x;
  }
  return model.head(x).argMax(2).dataSync();
}
