/**
 * What the catalogue says of a method: where it comes from, what it needs, what it costs, where it differs.
 *
 * @module
 */
import type { Need, Place, Reducer } from "../nn/reducer.ts";
import type { LayerBudget } from "./budget.ts";
import type { LawId } from "./laws.ts";

/** What becomes of the tokens that go, by the field's words. */
export type Family = "prune" | "pack" | "merge" | "cluster" | "pool" | "soft" | "transform";

/** The sizes of the model that a method with trained parts is made for. */
export interface ModelSizes {
  readonly width: number;
  readonly heads: number;
  readonly layers: number;
  /** Rows and columns of patches. */
  readonly grid: readonly [rows: number, columns: number];
  /** Class and distillation tokens. */
  readonly specialTokens: number;
}

/** The facts about a method, in words for a table and as values for the tests that hold them. */
export interface MethodFacts {
  readonly family: Family;
  /** Authors, short title, year. */
  readonly paper: string;
  /** Section and number of the preprint: "3, arXiv:2210.09461". */
  readonly section: string;
  /** 1: golden where there is a case, laws, traced, timed; 2: the same without timing. */
  readonly tier: 1 | 2;
  /** Which models it is for, where not for all: those with an image and a text. */
  readonly models?: "vision-language";
  /** Whether it can be traced into a compiled model; a loop that reads values back cannot. */
  readonly traceable: boolean;
  /** Whether it has parts that must be trained. */
  readonly trained: boolean;
  /** Families of golden cases that hold it against its authors' code. */
  readonly golden: readonly string[];
  /** What deciding costs beyond the model: n tokens, k that stay, C channels; multiplications and extra bytes. */
  readonly cost: string;
  /** "differs from the paper / from the code in ...", one sentence. */
  readonly differs: string;
  /** Laws that it must break, and why. Those it keeps are all others: see `laws`. */
  readonly breaks: Partial<Record<LawId, string>>;
}

/** A method of the catalogue. */
export interface Method<Options = LayerBudget> extends MethodFacts {
  /** The method with its options, ready for a model. */
  readonly create: (options: Options) => Reducer;
  /** The same for a model of given sizes, untrained where it is to be trained: every method can be made this way. */
  readonly forModel: (budget: LayerBudget, sizes: ModelSizes, seed?: number) => Reducer;
}

/**
 * A method without trained parts: made from a budget alone.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { topk, topkMethod } from "tessera/reduction/topk.ts";
 * const method = trainingFree(topk, topkMethod);
 * assert.equal(method.create({ keepRate: 0.5 }).name, "topk");
 * ```
 */
export function trainingFree<Options extends LayerBudget>(
  create: (options: Options) => Reducer,
  facts: Omit<MethodFacts, "trained">,
): Method<Options> {
  return { ...facts, trained: false, create, forModel: (budget) => create(budget as Options) };
}

/**
 * What a method reads of a block, as the catalogue prints it.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { tomeMethod } from "tessera/reduction/tome.ts";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.deepEqual(needsOf(tomeMethod, sizes), ["keys"]);
 * ```
 */
export function needsOf(method: Method, sizes: ModelSizes): readonly Need[] {
  const reducer = method.forModel({ r: 1 }, sizes);
  for (const parameter of reducer.parameters ?? []) parameter.dispose();
  return reducer.needs;
}

/**
 * The place of block `layer` of a model of these sizes where `tokens` arrive; default: all.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { width: 8, heads: 2, layers: 4, grid: [4, 4], specialTokens: 1 } as const;
 * assert.equal(placeIn(sizes, 2).tokens, 17);
 * ```
 */
export function placeIn({ layers, grid, specialTokens }: ModelSizes, layer: number, tokens?: number): Place {
  const initialTokens = grid[0] * grid[1] + specialTokens;
  return { layer, layers, tokens: tokens ?? initialTokens, initialTokens, specialTokens, grid };
}
