/**
 * Multiply-accumulates of Vision Transformers with token reduction, as this library counts them, beside what the papers
 * print (they call them FLOPs).
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { type Reducer, vitMACs } from "../../lib/nn/mod.ts";
import { dynamicvit, evit, type ModelSizes, tokenCounts, tome, topk } from "../../lib/reduction/mod.ts";

const widths = { "DeiT-T": [192, 3], "DeiT-S": [384, 6], "DeiT-B": [768, 12] } as const;
type Name = keyof typeof widths;

/** From no method to a reducer of a model. */
const methods: Record<string, (sizes: ModelSizes) => Reducer | undefined> = {
  none: () => undefined,
  "ToMe, r = 8": () => tome({ r: 8 }),
  "ToMe, r = 12": () => tome({ r: 12 }),
  "ToMe, r = 13": () => tome({ r: 13 }),
  "ToMe, r = 16": () => tome({ r: 16 }),
  "EViT, keep 0.9": () => evit({ keepRate: 0.9 }),
  "EViT, keep 0.8": () => evit({ keepRate: 0.8 }),
  "EViT, keep 0.7": () => evit({ keepRate: 0.7 }),
  "EViT, keep 0.6": () => evit({ keepRate: 0.6 }),
  "EViT, keep 0.5": () => evit({ keepRate: 0.5 }),
  "Top-K, keep 0.7": () => topk({ keepRate: 0.7 }),
  "Top-K, keep 0.5": () => topk({ keepRate: 0.5 }),
  "Top-K, keep 0.25": () => topk({ keepRate: 0.25 }),
  "DynamicViT, keep 0.7": (sizes) => dynamicvit({ keepRate: 0.7, sizes }),
};

export default defineExperiment({
  name: "published_costs",
  version: 1,
  question: "Do counted multiply-accumulates equal the printed ones to the last digit?",
  grid: {
    model: ["DeiT-T", "DeiT-S", "DeiT-B"],
    method: [
      "none",
      "ToMe, r = 8",
      "ToMe, r = 12",
      "ToMe, r = 13",
      "ToMe, r = 16",
      "EViT, keep 0.9",
      "EViT, keep 0.8",
      "EViT, keep 0.7",
      "EViT, keep 0.6",
      "EViT, keep 0.5",
      "Top-K, keep 0.7",
      "Top-K, keep 0.5",
      "Top-K, keep 0.25",
      "DynamicViT, keep 0.7",
    ],
  },
  fast: { grid: { model: ["DeiT-S"] } },
  rowSeconds: 0.1,
  row({ model, method }) {
    const [width, heads] = widths[model as Name];
    const shape = { width, depth: 12, mlpWidth: 4 * width, patches: 196, patchValues: 768, classes: 1000 };
    const sizes: ModelSizes = { width, heads, layers: 12, grid: [14, 14], specialTokens: 1 };
    const reducer = methods[method](sizes);
    const counts = reducer ? tokenCounts(reducer, sizes) : Array(12).fill({ in: 197, out: 197 });
    for (const parameter of reducer?.parameters ?? []) parameter.dispose();
    return { gmacs: vitMACs(shape, counts) / 1e9, tokensLeft: counts.at(-1)!.out };
  },
  paper: {
    cite:
      "Touvron et al. 2021 (none), Bolya et al. 2023 (ToMe), Liang et al. 2022 (EViT), as printed; spread: half of the last printed digit",
    table: new URL("./paper.csv", import.meta.url),
    compare: "gmacs",
  },
});
