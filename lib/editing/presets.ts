/**
 * Configurations by name: the authors' code, the paper's text, and the sizes that they published.
 *
 * Li et al., "Controllable Sequence Editing for Biological and Clinical Trajectories", ICLR 2026, arXiv:2502.03569; sizes
 * from the authors' `--best` option, which does not turn concepts on. Here it is always said whether they are.
 *
 * @module
 */
import type { CLEFConfig, Scaling } from "./clef.ts";

/** What a preset leaves open. */
export type PresetSizes = Pick<CLEFConfig, "variables" | "conditionWidth" | "encoder" | "records">;

/**
 * Variants of the model, as functions of its sizes.
 *
 * - `repo`: the authors' code: raw units, base = mean of the history, condition decoder applied twice. With FFN as for
 *   patients; pass `feedForward: false` after it for cells.
 * - `paper`: the paper's text: base = last observed value, condition and time gap summed.
 * - `withoutConcepts`: the code's twin without concepts, raw or z-scored. This is what the documented command trains.
 * - `simpleLinear`: concepts fixed at 1: the mean of the history.
 * - `plus`: ours: z-scored encoder, centred concepts, learned blend of last value and mean as base.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const sizes = { variables: 16, conditionWidth: 32, records: 20 } as const;
 * const encoder = { kind: "transformer", heads: 4, layers: 2 } as const;
 * assert.equal(presets.repo({ ...sizes, encoder }).base, "mean");
 * assert.equal(presets.paper({ ...sizes, encoder }).base, "last");
 * ```
 */
export const presets = {
  repo: (sizes: PresetSizes): CLEFConfig => ({ ...sizes, feedForward: true, base: "mean", joint: "shared-twice" }),
  paper: (sizes: PresetSizes): CLEFConfig => ({ ...sizes, feedForward: true, base: "last", joint: "sum" }),
  withoutConcepts: (sizes: PresetSizes, scaling?: Scaling): CLEFConfig => (
    { ...sizes, concept: "none", ...(scaling ? { scaling } : {}) }
  ),
  simpleLinear: (sizes: PresetSizes): CLEFConfig => ({ ...sizes, concept: "ones", base: "mean" }),
  plus: (sizes: PresetSizes, scaling: Scaling): CLEFConfig => (
    { ...sizes, feedForward: true, centred: true, base: "ewma", scaling }
  ),
};

const transformer = (heads: number, layers: number) => ({ kind: "transformer", heads, layers }) as const;

/** The sizes that the authors published, with concepts. */
export const published = {
  mimic4: presets.repo({ variables: 16, conditionWidth: 128, records: 949, encoder: transformer(4, 8) }),
  eicu: presets.repo({ variables: 18, conditionWidth: 128, records: 858, encoder: transformer(6, 8) }),
  cellsHVG: {
    ...presets.repo({ variables: 1480, conditionWidth: 5120, records: 37, encoder: transformer(8, 4) }),
    feedForward: false,
  },
} satisfies Record<string, CLEFConfig>;
