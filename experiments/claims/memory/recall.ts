/**
 * Asks a model for hidden facts with a part of its cache, many texts at once: all is read with full attention, a policy
 * chooses the slots that stay, and the question is read against these.
 *
 * `predict` does the same for one text at a time with a cache that is really smaller; here dropped slots are masked, which
 * gives the same numbers and lets a hundred texts share a step.
 *
 * @module
 */
import {
  type CacheParts,
  type CachePolicy,
  type CacheView,
  cacheView,
  causalRows,
  type Llama,
} from "tessera/nn/mod.ts";
import { foldIn, randomKey, tf, tidy } from "tessera/tensor/mod.ts";
import type { HiddenFacts } from "tessera/data/mod.ts";

/** What a cache is made of, for each layer: a view that is made of it keeps nothing between policies. */
export type Memory = readonly CacheParts[];

/** Reads tokens [batch, n] with full attention. The caller disposes of the result by {@link forget}. */
export function read(model: Llama, tokens: tf.Tensor2D, seed: number): Memory {
  return tidy(() => reading(model, tokens, seed));
}

function reading(model: Llama, tokens: tf.Tensor2D, seed: number): Memory {
  const { depth, heads } = model.config, n = tokens.shape[1];
  const positions = tf.range(0, n, 1, "float32").expandDims<tf.Tensor2D>(0);
  const mask = causalRows(n, heads / model.keyHeads), key = randomKey(seed);
  const memory: CacheParts[] = [];
  let x = model.embed(tokens);
  for (let layer = 0; layer < depth; layer++) {
    const { q_proj, k_proj, v_proj, o_proj } = model.weights.layers[layer].self_attn;
    x = model.block(layer, x, positions, ({ hidden, queries, keys, values }) => {
      memory.push({
        layer,
        layers: depth,
        heads,
        ropeBase: model.config.ropeBase ?? 10000,
        hidden: tf.keep(hidden.clone()),
        queries: tf.keep(queries.clone()),
        keys: tf.keep(keys.clone()),
        values: tf.keep(values.clone()),
        weights: { q: q_proj.weight, k: k_proj.weight, v: v_proj.weight, o: o_proj.weight },
        key: tf.keep(foldIn(key, layer)),
      });
      return { keys, values, mask };
    }).x;
  }
  return memory;
}

/** Frees what {@link read} keeps. */
export function forget(memory: Memory): void {
  for (const { hidden, queries, keys, values, key } of memory) tf.dispose([hidden!, queries!, keys, values, key!]);
}

/** Which slots of each layer stay, [batch, key heads, n] of 0 and 1. */
export function staying(policy: CachePolicy | undefined, views: readonly CacheView[]): tf.Tensor3D[] {
  const changes = policy?.afterPrompt?.(views) ?? [];
  return views.map(({ keys, tokens }, layer) => {
    const { keep, stays, keys: changed } = changes[layer] ?? {};
    if (changed) throw new RangeError(`${policy!.name} changes keys, and a mask cannot say that; use predict`);
    if (stays) return stays;
    if (keep) return tf.oneHot(keep, tokens).sum<tf.Tensor3D>(2).cast("float32") as tf.Tensor3D;
    return tf.ones<tf.Rank.R3>([keys.shape[0], keys.shape[1], tokens]);
  });
}

/**
 * Logits [batch, rows, vocabulary] of tokens that follow slot `from - 1`: they see the slots before `from` that stay, and
 * each other.
 */
export function goOn(
  model: Llama,
  views: readonly CacheView[],
  stays: readonly tf.Tensor3D[],
  tokens: tf.Tensor2D,
  from: number,
): tf.Tensor3D {
  const rows = tokens.shape[1], group = model.config.heads / model.keyHeads;
  const positions = tf.range(from, from + rows, 1, "float32").expandDims<tf.Tensor2D>(0);
  let x = model.embed(tokens);
  views.forEach((view, layer) => {
    const [batch, keyHeads] = view.keys.shape;
    const before = <T extends tf.Tensor>(all: T) => all.slice([0, 0, 0], [-1, -1, from]) as T;
    const seen = stays[layer].slice([0, 0, 0], [-1, -1, from]).expandDims(2).tile([1, 1, group * rows, 1]);
    const own = causalRows(rows, group).tile([batch, keyHeads, 1, 1]);
    const mask = tf.concat([seen, own], 3);
    x = model.block(layer, x, positions, ({ keys, values }) => ({
      keys: tf.concat([before(view.keys), keys], 2),
      values: tf.concat([before(view.values), values], 2),
      mask,
    })).x;
  });
  return model.head(x);
}

/** Questions that are asked together. */
export interface Batch {
  /** [batch, n]: what the policy sees. */
  readonly prompt: tf.Tensor2D;
  /** [batch, rows]: what is read against the slots that stay. */
  readonly rest: tf.Tensor2D;
  /** Position of the first token of `rest`. */
  readonly from: number;
  /** Which row of the batch, which row of `rest` and which token is right, and in which fifth of the text it stands. */
  readonly questions: readonly { batch: number; row: number; answer: number; fifth: number }[];
  /** [batch][n]: what an oracle wants: 2 where a thing stands that may be asked for, 1 for its name. */
  readonly wanted: number[][];
}

/**
 * One question for each row, "? anna", read against the slots of the text that stay. Where it is known, the policy sees it
 * too, at the end of the text; then it is read again, so that the answer depends on nothing else than what was chosen.
 */
export function ask(facts: HiddenFacts, { known }: { readonly known: boolean }): Batch {
  const { texts, rowLength, tokens, lengths, asked, told, answer } = facts;
  const each = asked.length / texts, length = lengths[0];
  const prompts: number[][] = [], asking: number[][] = [], wanted: number[][] = [];
  const questions = Array.from(asked, (place, q) => {
    const text = Math.floor(q / each), start = text * rowLength;
    const question = [tokens[start + place - 1], tokens[start + place]];
    prompts.push([...tokens.subarray(start, start + length), ...(known ? question : [])]);
    asking.push(question);
    const of = new Array<number>(prompts[q].length).fill(0);
    for (const at of known ? [told[q]] : told.subarray(text * each, (text + 1) * each)) {
      of[at] = 1;
      of[at + 1] = 2;
    }
    wanted.push(of);
    return { batch: q, row: 1, answer: answer[q], fifth: Math.min(4, Math.floor(5 * told[q] / length)) };
  });
  return {
    prompt: tf.tensor2d(prompts, undefined, "int32"),
    rest: tf.tensor2d(asking, undefined, "int32"),
    from: length,
    questions,
    wanted,
  };
}

/** What came of a policy. */
export interface Found {
  /** Share of right answers. */
  readonly recall: number;
  /** Of facts in the first fifth of their text, ... the last. */
  readonly byDepth: readonly number[];
  /** Share of the answers' slots that stay, the mean over heads, of each layer. */
  readonly kept: readonly number[];
}

/** Asks all questions of a batch with the slots that a policy leaves. */
export function find(
  model: Llama,
  memory: Memory,
  policy: CachePolicy | undefined,
  { rest, from, questions, wanted }: Pick<Batch, "rest" | "from" | "questions" | "wanted">,
): Found {
  return tidy(() => {
    const views = memory.map(cacheView);
    const stays = staying(policy, views);
    const rows = rest.shape[1];
    const best = goOn(model, views, stays, rest, from).argMax(2).dataSync();
    const fifths = Array.from({ length: 5 }, () => ({ right: 0, asked: 0 }));
    for (const { batch, row, answer, fifth } of questions) {
      fifths[fifth].right += Number(best[batch * rows + row] === answer);
      fifths[fifth].asked++;
    }
    const things = tf.tensor2d(wanted).equal(2).cast("float32").expandDims(1);
    const kept = stays.map((of) => of.mul(things).sum().div(things.sum().mul(of.shape[1])).dataSync()[0]);
    return {
      recall: fifths.reduce((sum, { right }) => sum + right, 0) / questions.length,
      byDepth: fifths.map(({ right, asked }) => right / asked),
      kept,
    };
  });
}
