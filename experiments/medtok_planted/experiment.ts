/**
 * MedTok on the planted world: what its tokens know, by loss, by modality and by world, three worlds and three tokenizers each.
 *
 * A seed is the seed of the world and of the tokenizer. Metrics are those of section 7.4 of our specification of MedTok (Su et
 * al., ICML 2025, arXiv:2502.04397); `paper.csv` holds what its prototype gave for one world and one seed.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import {
  crossSystemHits,
  leakReport,
  type MedTokConfig,
  medtokConfig,
  pairAUC,
  plantedWorld,
  reconstructionError,
  type RegionName,
  type Slot,
  trainMedTok,
  usage,
  wordVectors,
} from "../../lib/tokenization/mod.ts";

/** What each row of the table changes in the preset `lite`. */
const settings: Record<string, Partial<MedTokConfig> & { world?: "hard" }> = {
  full: {},
  "codebook alone": { sharedWeight: 0, specificWeight: 0, klWeight: 0 },
  "codebook, shared and KL": { specificWeight: 0 },
  "codebook and specific": { sharedWeight: 0, klWeight: 0 },
  "text alone": { modality: "text", commitOn: "normalized" },
  "graph alone": { modality: "graph", commitOn: "normalized" },
  "full, equal subgraphs as negatives": { nceMaskDuplicates: false },
  "full, no cross-attention": { crossAttention: "none" },
  "full, 200 steps": { steps: 200 },
  "full, 400 steps": { steps: 400 },
  "hard world, full": { world: "hard" },
  "hard world, codebook alone": { world: "hard", sharedWeight: 0, specificWeight: 0, klWeight: 0 },
};

export default defineExperiment({
  name: "medtok_planted",
  version: 1,
  question:
    "What do MedTok's tokens know of the factors that are planted, and which term of the loss makes them know it?",
  grid: {
    setting: [
      "full",
      "codebook alone",
      "codebook, shared and KL",
      "codebook and specific",
      "text alone",
      "graph alone",
      "full, equal subgraphs as negatives",
      "full, no cross-attention",
      "full, 200 steps",
      "full, 400 steps",
      "hard world, full",
      "hard world, codebook alone",
    ],
  },
  seeds: [0, 1, 2],
  fast: { grid: { setting: ["full", "codebook alone", "text alone"] }, seeds: [0] },
  rowSeconds: 250,
  async row({ setting }, { seed, signal, fast }) {
    const { world: kind = "easy", ...changes } = settings[setting];
    const world = plantedWorld({ seed, world: kind });
    const concept = world.planted.codes.map((code) => code.concept);
    const { concepts } = world.planted;
    const config = medtokConfig("lite", {
      nodeRows: world.graph.nodes.length + 2,
      seed,
      ...changes,
      ...(fast ? { steps: 60 } : {}),
    });
    const { tokenizer } = await trainMedTok(world.codes, {
      config,
      encoder: wordVectors(),
      graph: world.graph,
      show: false,
      signal,
    });
    const table = await tokenizer.encodeBatch(world.codes, { show: false });
    const error = await reconstructionError(tokenizer, world.codes);
    tokenizer.dispose();
    const factors = [
      { name: "module", values: concept.map((i) => concepts[i].module) },
      { name: "category", values: concept.map((i) => concepts[i].category) },
      { name: "severity", values: concept.map((i) => Number(concepts[i].severe)) },
    ];
    const report = leakReport(table, factors, concept);
    const health = usage(table);
    const same = (a: number, b: number) => concept[a] === concept[b];
    const whole = {
      pairAUC: rounded(pairAUC(table, concept)),
      hitsAtoC: rounded(crossSystemHits(table, "A", "C", same).rate),
      rowsUsed: health.used,
      matched: rounded(report.matched),
      unmatched: rounded(report.unmatched),
      overlap: rounded(report.overlap),
    };
    const regionOf: Record<Slot, RegionName> = {
      textSpecific: "text",
      graphSpecific: "graph",
      textShared: "shared",
      graphShared: "shared",
    };
    return table.slots.map((slot) => {
      const read = (factor: string) => report.probes.find((probe) => probe.slot === slot && probe.factor === factor)!;
      const region = health.regions[regionOf[slot]];
      return {
        slot,
        module: rounded(read("module").accuracy),
        category: rounded(read("category").accuracy),
        severity: rounded(read("severity").accuracy),
        severityMajority: rounded(read("severity").majority),
        regionUsed: region.used,
        regionPerplexity: rounded(region.perplexity),
        reconstruction: rounded(error[slot]),
        ...whole,
      };
    });
  },
  paper: {
    cite: "Our specification of MedTok, section 7.4: measured with a PyTorch prototype, one world, one tokenizer",
    table: new URL("./paper.csv", import.meta.url),
    compare: "module",
  },
});

function rounded(value: number | undefined): number | null {
  return value === undefined ? null : Number(value.toFixed(4));
}
