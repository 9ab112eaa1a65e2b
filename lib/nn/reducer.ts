/**
 * What a model asks of a reducer, and what it shows it. A model in `nn` calls a `Reducer` between attention and MLP of
 * every block and knows none by name; the methods are in `lib/reduction`.
 *
 * @module
 */
import type { tf } from "../tensor/mod.ts";
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

/** What a reducer may look at: the block right after its attention. */
export interface BlockView extends Place {
  /** [batch, tokens, channels], after the attention's residual. */
  readonly x: tf.Tensor3D;
  /** [batch, heads, tokens, channels / heads] */
  readonly keys: tf.Tensor4D;
  /** [batch, heads, tokens, tokens], after the softmax; row = the token that looks, column = the token looked at. */
  readonly attention: tf.Tensor4D;
  /** [batch, tokens]: how many original tokens each token stands for. */
  readonly size: tf.Tensor2D;
  /** Key of this block's random numbers (see `randomKey`); absent where the caller gave no seed. */
  readonly key?: tf.Tensor1D;
}

/** A token reduction method with its options, ready to be used inside a model. */
export interface Reducer {
  readonly name: string;
  /** Whether later attention counts a token as often as its size says (log size added to its logits). */
  readonly proportionalAttention: boolean;
  /** What will happen at this place. Depends on numbers of tokens alone, so costs can be counted without running. */
  plan(place: Place): Budget;
  /** Decides which token goes where. Only called where `plan` removes something. */
  reduce(view: BlockView): TokenMap;
}
