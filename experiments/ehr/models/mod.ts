/**
 * The models at the size at which they are compared: width 64, two layers, four heads, on records of a given shape.
 *
 * @module
 */
import type { CodeVectors } from "../code_input.ts";
import type { EHRModel } from "../model.ts";
import type { Records } from "../records.ts";
import { ageRows, behrt } from "./behrt.ts";
import { ethos } from "./ethos.ts";
import { gtBEHRT } from "./gt_behrt.ts";
import { multEHR } from "./mult_ehr.ts";
import { reference } from "./reference.ts";
import { transformEHR } from "./transformehr.ts";

/** What can be switched off of a model; the name says what is gone. */
export const ablations = {
  "reference": [],
  "BEHRT": ["no pre-training", "no age", "no segments", "no positions"],
  "GT-BEHRT": ["no pre-training", "no edge types", "no edges between codes"],
  "MulT-EHR": ["no causal branch", "one task"],
  "TransformEHR": ["no pre-training", "no visit offsets"],
  "ETHOS": ["no time intervals", "no deciles", "one future"],
} as const;

/** Names of the models. */
export type ModelName = keyof typeof ablations;

/** Names of what can be switched off; "whole": nothing. */
export type Ablation = "whole" | (typeof ablations)[ModelName][number];

/** How to make a model. */
export interface ModelOptions {
  readonly vectors: CodeVectors;
  /** The records it will be trained on: their shape, sexes and labels. */
  readonly records: Records;
  /** Of each id: 1 diagnosis, 2 procedure, 3 drug. MulT-EHR's graph has a type of node for each. */
  readonly kindOf: (id: number) => number;
  readonly seed: number;
  readonly without?: Ablation;
  /** Default: 64. */
  readonly width?: number;
  /** Default: 2. */
  readonly layers?: number;
}

/** A model by its name, of comparable size. */
export function makeModel(name: ModelName, options: ModelOptions): EHRModel<object> {
  const { vectors, records, kindOf, seed, without = "whole", width = 64, layers = 2 } = options;
  const { visits, codes } = records.shape;
  const outputs = records.labelNames.length;
  const common = { width, layers, heads: 4, mlpWidth: 2 * width, outputs, dropout: 0.2 };
  const off = (what: Ablation) => without === what;
  const ages = ageRows(110);
  switch (name) {
    case "reference": {
      const sizes = {
        ...common,
        years: 60,
        sexes: records.sexes.length + 1,
        ethnicities: records.ethnicities.length + 1,
      };
      return reference(vectors, sizes, seed) as EHRModel<object>;
    }
    case "BEHRT": {
      const features = { age: !off("no age"), segment: !off("no segments"), position: !off("no positions") };
      const config = { ...common, ages, positions: visits, features, pretrain: !off("no pre-training") };
      return behrt(vectors, config, seed) as EHRModel<object>;
    }
    case "GT-BEHRT":
      return gtBEHRT(vectors, {
        ...common,
        part: width / 4, // five parts of 16: width 80
        ages: 110 * 12,
        positions: visits,
        visitTypes: 3,
        typedEdges: !off("no edge types"),
        codeEdges: !off("no edges between codes"),
        pretrain: off("no pre-training") ? "none" : "both",
      }, seed) as EHRModel<object>;
    case "MulT-EHR":
      return multEHR(vectors, kindOf, {
        ...common,
        positions: visits,
        sexes: records.sexes.length,
        ...(off("no causal branch") ? { causal: 0 } : {}),
        ...(off("one task") ? { tasks: [0] } : {}),
      }, seed) as EHRModel<object>;
    case "TransformEHR":
      return transformEHR(vectors, {
        ...common,
        layers: Math.max(1, layers - 1), // an encoder and a decoder
        positions: visits * codes,
        offsets: 1460,
        visitOffsets: !off("no visit offsets"),
        pretrain: !off("no pre-training"),
      }, seed) as EHRModel<object>;
    case "ETHOS":
      return ethos(vectors, records, {
        ...common,
        positions: 2 + visits * (codes + 3) + outputs + 1,
        futures: off("one future") ? 1 : 5,
        intervals: !off("no time intervals"),
        deciles: !off("no deciles"),
      }, seed) as unknown as EHRModel<object>;
  }
}
