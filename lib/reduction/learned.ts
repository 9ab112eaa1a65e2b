/**
 * What methods with trained parts share: for each block that reduces, parameters of its own, made for the number of tokens
 * that are to stay there.
 *
 * @module
 */
import { type Described, initialise } from "../nn/initialise.ts";
import { trainable } from "../nn/parameters.ts";
import type { BlockView, Hook, Need, Place, Reducer } from "../nn/reducer.ts";
import type { SlotMap, SoftMap, TokenMap } from "../nn/token_map.ts";
import { random } from "../random.ts";
import { flatten, tf, tidy } from "../tensor/mod.ts";
import { type LayerBudget, patchesLeft, truncate, truncateAsReference } from "./budget.ts";
import { type Method, type MethodFacts, type ModelSizes, placeIn } from "./method.ts";
import { pruningBudget } from "./prune.ts";
import { refuseNaNIn, withSpecialTokens } from "./special.ts";

/** What every method with trained parts is made with, beside its budget. */
export interface LearnedOptions<Parameters> {
  /** The model that it is for. */
  readonly sizes: ModelSizes;
  /** Of the numbers that parameters start from. Default: 1. */
  readonly seed?: number;
  /** Parameters of each block that reduces, in their order; default: drawn from the seed, as variables to be trained. */
  readonly parameters?: readonly Parameters[];
  /** The reference's rounding and what else the method's file says. Default: false. */
  readonly parity?: boolean;
}

/** A block that reduces. */
export interface Stage extends Place {
  /** Patches that stay. */
  readonly keep: number;
}

/** What is particular to one method. */
export interface LearnedParts<Parameters> {
  readonly name: string;
  readonly hook?: Hook;
  readonly needs?: readonly Need[];
  /** Describes the parameters of one stage. */
  describe(stage: Stage): object;
  /** Which parameters are trained, by name. Default: all. */
  readonly trains?: (name: string) => boolean;
  /** The map of the patches. */
  reduce(patches: tf.Tensor3D, parameters: Parameters, stage: Stage, view: BlockView): SlotMap | SoftMap;
  readonly soften?: (
    patches: tf.Tensor3D,
    parameters: Parameters,
    stage: Stage,
    view: BlockView,
    policy: tf.Tensor2D,
  ) => tf.Tensor2D;
}

/** A method with trained parts as a reducer; its variables are in `parameters`, by stage in `stages`. */
export interface LearnedReducer<Parameters> extends Reducer {
  readonly parameters: readonly tf.Variable[];
  /** Parameters of each block that reduces. */
  readonly stages: readonly Parameters[];
}

/** Puts a method together from what is particular to it. */
export function learned<Parameters>(
  options: LayerBudget & LearnedOptions<Parameters>,
  parts: LearnedParts<Parameters>,
): LearnedReducer<Parameters> {
  const { sizes, seed = 1, parity = false } = options;
  const left = patchesLeft(options, parity ? truncateAsReference : truncate);
  const planned = (place: Place) => pruningBudget(place, left(place));
  const stages: Stage[] = [];
  let tokens = placeIn(sizes, 0).tokens;
  for (let layer = 0; layer < sizes.layers; layer++) {
    const place = placeIn(sizes, layer, tokens);
    const { achieved } = planned(place);
    if (achieved > 0) stages.push({ ...place, keep: tokens - sizes.specialTokens - achieved });
    tokens -= achieved;
  }
  if (options.parameters && options.parameters.length !== stages.length) {
    throw new RangeError(
      `${parts.name} reduces in ${stages.length} blocks, but there are parameters for ${options.parameters.length}; ` +
        "give one set for each",
    );
  }
  const all = options.parameters ?? stages.map((stage, i) =>
    trainable(
      initialise(parts.describe(stage), random(seed, `${parts.name} ${i}`)) as Described<object>,
      parts.trains,
    ) as Parameters
  );
  const stageAt = (view: BlockView) => {
    const at = stages.findIndex(({ layer }) => layer === view.layer);
    if (at < 0 || stages[at].tokens !== view.tokens) {
      throw new RangeError(
        `${parts.name} was made for ${
          at < 0 ? "no reduction" : `${stages[at].tokens} tokens`
        } in block ${view.layer}, ` +
          `but ${view.tokens} arrive; make it for this model`,
      );
    }
    return { stage: stages[at], parameters: all[at] };
  };
  const patchesOf = (view: BlockView) =>
    refuseNaNIn(view.x.slice([0, view.specialTokens, 0]) as tf.Tensor3D, parts.name, view);
  const { soften } = parts;
  return {
    name: parts.name,
    needs: parts.needs ?? [],
    ...(parts.hook ? { hook: parts.hook } : {}),
    proportionalAttention: false,
    parameters: all.flatMap((set) =>
      [...flatten<tf.Tensor>(set as object, (value): value is tf.Tensor => value instanceof tf.Tensor).values()]
        .filter((tensor): tensor is tf.Variable => tensor instanceof tf.Variable)
    ),
    stages: all,
    plan: planned,
    reduce: (view) =>
      tidy((): TokenMap => {
        const { stage, parameters } = stageAt(view);
        const map = parts.reduce(patchesOf(view), parameters, stage, view);
        const budget = planned(view);
        return map.kind === "slots"
          ? { ...withSpecialTokens(map, view.specialTokens), budget }
          : { ...withSpecialTokens(map, view.specialTokens), budget };
      }),
    ...(soften
      ? {
        soften: (view: BlockView, policy: tf.Tensor2D) =>
          tidy(() => {
            const at = stages.findIndex(({ layer }) => layer === view.layer);
            return at < 0 ? policy.clone() : soften(patchesOf(view), all[at], stages[at], view, policy);
          }),
      }
      : {}),
  };
}

/** The soft map of patches whose rows are `matrix` [batch, outputs, patches]. */
export function softMap(matrix: tf.Tensor3D, rest: Partial<SoftMap> = {}): SoftMap {
  const [, outputs, tokens] = matrix.shape;
  return {
    kind: "soft",
    tokens,
    outputs,
    matrix,
    budget: { requested: tokens - outputs, achieved: tokens - outputs },
    ...rest,
  };
}

/** A method with trained parts for the catalogue. */
export function learnedMethod<Options extends LayerBudget & LearnedOptions<never>>(
  create: (options: Options) => Reducer,
  facts: Omit<MethodFacts, "trained">,
): Method<Options> {
  return {
    ...facts,
    trained: true,
    create,
    forModel: (budget, sizes, seed = 1) => create({ ...budget, sizes, seed } as unknown as Options),
  };
}
