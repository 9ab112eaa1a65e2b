/**
 * What a model asks of a reducer, and what it shows it. A model in `nn` calls a `Reducer` in every block (between
 * attention and MLP, or before the block) and knows none by name; the methods are in `lib/reduction`.
 *
 * @module
 */
import { type tf } from "../tensor/mod.ts";
import { NeedsMissing } from "./reduction_errors.ts";
import type { Budget, TokenMap } from "./token_map.ts";

/** Where in the model a decision is made: enough to say how many tokens will leave, without any tensor. */
export interface Place {
  /** Index of the block, from 0. */
  readonly layer: number;
  /** Number of blocks of the model. */
  readonly layers: number;
  /** Tokens that arrive, special ones included. */
  readonly tokens: number;
  /** Tokens that the model began with, special ones included. */
  readonly initialTokens: number;
  /** Class and distillation tokens, which come first and are never removed. */
  readonly specialTokens: number;
  /** Rows and columns of the patches that the model began with. */
  readonly grid: readonly [rows: number, columns: number];
}

/**
 * What a reducer may look at: the block right after its attention (or the block before, for a reducer that stands
 * before its block).
 *
 * Only `x` and `size` are always there. The rest is what a method names in `needs`; a model may compute such a field when
 * it is first read (a getter), and leaves out what it has not. Read them by {@link need}.
 */
export interface BlockView extends Place {
  /** [batch, tokens, channels], after the attention's residual. */
  readonly x: tf.Tensor3D;
  /** [batch, tokens]: how many original tokens each token stands for; 0 where a row is padded, which no token counts. */
  readonly size: tf.Tensor2D;
  /** Real tokens of each image at the start, special ones included, where the batch is padded; absent: all of them. */
  readonly realAtStart?: readonly number[];
  /** [batch, heads, tokens, channels / heads] */
  readonly queries?: tf.Tensor4D;
  /** [batch, heads, tokens, channels / heads] */
  readonly keys?: tf.Tensor4D;
  /** [batch, heads, tokens, channels / heads] */
  readonly values?: tf.Tensor4D;
  /** [batch, heads, tokens, tokens], after the softmax; row = the token that looks, column = the token looked at. */
  readonly attention?: tf.Tensor4D;
  /** [batch, tokens]: where each token stood in the sequence that the model began with. */
  readonly positions?: tf.Tensor2D;
  /** The words of the prompt that belongs to the image: vision-language models only. */
  readonly text?: TextView;
  /** What the vision tower said of these tokens: vision-language models only, before anything was removed. */
  readonly vision?: VisionView;
  /** Key of this block's random numbers (see `randomKey`); absent where the caller gave no seed. */
  readonly key?: tf.Tensor1D;
}

/** What the text behind an image shows to a method that reduces the image's tokens, inside or right before a decoder. */
export interface TextView {
  /** [batch, text tokens, channels], as they enter the block. */
  readonly x: tf.Tensor3D;
  /** [batch, heads, text tokens, channels / heads], of the block before; absent before the first one, like the next two. */
  readonly queries?: tf.Tensor4D;
  /** [batch, heads, text tokens, channels / heads] */
  readonly keys?: tf.Tensor4D;
  /** [batch, heads, text tokens, tokens]: how much each word looks at each of the view's tokens, of all it can see. */
  readonly attention?: tf.Tensor4D;
  /** As `attention`, in the block that is about to run. Costs that block's queries and keys. */
  readonly attentionAhead?: tf.Tensor4D;
  /** The model's last norm, for methods that compare tokens as the head would see them. */
  readonly finalNorm?: (x: tf.Tensor3D) => tf.Tensor3D;
}

/** What the vision tower in front of a language model knows of the image's tokens, as long as all of them are there. */
export interface VisionView {
  /** [batch, heads, tokens]: how much the class token looks at each. */
  readonly classAttention: tf.Tensor3D;
  /** [batch, heads, tokens, channels / heads] */
  readonly keys: tf.Tensor4D;
  /** [batch, tokens, shared channels]: each token in the space that images and texts have in common (CLIP's, say). */
  readonly patchEmbeddings: tf.Tensor3D;
  /** [batch, texts, shared channels] */
  readonly textEmbeddings: tf.Tensor3D;
}

/** What a method may ask of a model beyond the tokens themselves. */
export type Need = "queries" | "keys" | "values" | "attention" | "positions" | "text" | "vision" | "key";

/** Where in its block a reducer stands. */
export type Hook = "afterAttention" | "beforeBlock";

/** A token reduction method with its options, ready to be used inside a model. */
export interface Reducer {
  readonly name: string;
  /** What it reads of a {@link BlockView}; the model gives at least that, or says by `NeedsMissing` that it cannot. */
  readonly needs: readonly Need[];
  /** Default: "afterAttention", so that the block's MLP has fewer tokens; "beforeBlock": its attention too. */
  readonly hook?: Hook;
  /** Whether later attention counts a token as often as its size says (log size added to its logits). */
  readonly proportionalAttention: boolean;
  /** Outputs may be empty (size 0) where a method keeps fewer tokens of one image than of another; nothing looks at them. */
  readonly leavesEmpty?: boolean;
  /** What is trained; absent for methods that have nothing to train. */
  readonly parameters?: readonly tf.Variable[];
  /** What will happen at this place. Depends on numbers of tokens alone, so costs can be counted without running. */
  plan(place: Place): Budget;
  /** Decides which token goes where. Only called where `plan` removes something. */
  reduce(view: BlockView): TokenMap;
  /**
   * While training, in place of `reduce`: how much each token still counts, 0 to 1, where the choice itself would let no
   * gradient through. Nothing is removed; later attention leaves out what has gone. [batch, tokens]
   */
  soften?(view: BlockView, policy: tf.Tensor2D): tf.Tensor2D;
}

/**
 * A field of the view, or the error that says who needs it.
 *
 * @param method Who asks, for the message.
 * @throws {NeedsMissing} Where the model does not give it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tf } from "tessera/tensor/mod.ts";
 * const place = { layer: 0, layers: 1, tokens: 2, initialTokens: 2, specialTokens: 1, grid: [1, 1] as const };
 * const view = { ...place, x: tf.zeros<tf.Rank.R3>([1, 2, 4]), size: tf.ones<tf.Rank.R2>([1, 2]) };
 * assert.throws(() => need(view, "keys", "tome"), /^NeedsMissing: tome needs keys, but the model gives none/);
 * ```
 */
export function need<Field extends Need>(view: BlockView, field: Field, method: string): NonNullable<BlockView[Field]> {
  const value = view[field];
  if (value === undefined) throw new NeedsMissing(field, method);
  return value;
}

/**
 * What `need` is for fields of a field: the value, or the error that says who needs it.
 *
 * @param field As a reader would write it: "text.attention".
 * @throws {NeedsMissing} Where it is undefined.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.equal(given(7, "text.attention", "fastv"), 7);
 * assert.throws(() => given(undefined, "text.attention", "fastv"), /fastv needs text.attention/);
 * ```
 */
export function given<T>(value: T | undefined, field: string, method: string): T {
  if (value === undefined) throw new NeedsMissing(field, method);
  return value;
}
