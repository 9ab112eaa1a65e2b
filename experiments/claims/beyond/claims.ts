/**
 * D9: claims about reduction beyond images and language.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "../../../lib/experiment/mod.ts";

/** The numbers of one arm, one per seed. */
const arm = (rows: readonly Row[], domain: string, measure: string) => (name: string) =>
  bySeed(rows, { domain, arm: name, measure }, "value");

/** The numbers of several arms, by name. */
function arms(rows: readonly Row[], domain: string, measure: string, names: readonly string[]) {
  const of = arm(rows, domain, measure);
  return Object.fromEntries(names.map((name) => [name, of(name)]));
}

const notebook = "45_codes_series_genes_points";
const training = "a transformer over sets (2 blocks, 32 channels), trained from the start for each arm and seed";
const position = {
  says: "reduction should serve science beyond language and vision; no experiment is given",
  source: "Kong et al. 2025, arXiv:2505.18227, section 5.9",
};
const codesData =
  `Timelines of 64 events over 40 codes (Zipf 1.1); labels: was code 37 ever there, was code 5 there six times or more; ` +
  `each combination equally often. Model: ${training}`;

/** The cards of this experiment. */
export const claims: readonly Claim[] = [
  {
    id: "D9-a1",
    claim: "On clinical codes, merging repeats with their count answers a question about a count better than leaving " +
      "events out, at the same number of tokens",
    mechanism: "a merged token carries its size, so that the mean weighted by size still says how often a code came",
    publishedFor: [
      position,
      {
        says: "merged tokens need their sizes in attention",
        source: "Bolya et al., ICLR 2023, arXiv:2210.09461, section 3",
      },
    ],
    publishedAgainst: [{
      says: "pruning by attention is as good as merging on image classification at high keep rates",
      source: "Haurum et al., ICCV Workshops 2023, arXiv:2308.04657",
    }],
    data: codesData,
    controls: "none (the whole model), keep frequent, keep rare, keep recent, random; pooling is card D9-a2",
    expected: "higher: events that are left out are not counted",
    change: "a label that does not depend on counts, or a budget that leaves nearly all events",
    notebook,
    evidence: (rows) => {
      const of = arm(rows, "codes", "count accuracy");
      return {
        treatment: of("merge repeats"),
        against: arms(rows, "codes", "count accuracy", ["keep frequent", "keep rare", "keep recent", "random"]),
        expect: "higher",
        whole: of("none"),
        random: of("random"),
        chance: 0.5,
      };
    },
  },
  {
    id: "D9-a2",
    claim:
      "Merging events of the same code answers the count better than pooling neighbours in time, at the same number " +
      "of tokens",
    mechanism: "a pooled window mixes codes; a merged token is still one code",
    publishedFor: [position],
    publishedAgainst: [{
      says: "average pooling beats learned compression of prompts",
      source: "Petrov et al. 2025, arXiv:2504.08934",
    }],
    data: codesData,
    controls: "none, random, pooling with sizes",
    expected: "higher, by little: a pooled window keeps its mass too",
    change: "a model that reads tokens nonlinearly before it adds them, or longer windows",
    notebook,
    evidence: (rows) => {
      const of = arm(rows, "codes", "count accuracy");
      return {
        treatment: of("merge repeats"),
        against: { pool: of("pool") },
        expect: "higher",
        whole: of("none"),
        random: of("random"),
        chance: 0.5,
      };
    },
  },
  {
    id: "D9-a3",
    claim: "It is the size that answers the count: the same merged codes without their sizes do worse",
    mechanism: "without sizes all patients with the same codes look the same, but for last values",
    publishedFor: [position],
    publishedAgainst: [],
    data: codesData,
    controls: "none, random, the same tokens with all sizes 1",
    expected: "higher",
    change: "a label about presence only",
    notebook,
    evidence: (rows) => {
      const of = arm(rows, "codes", "count accuracy");
      return {
        treatment: of("merge repeats"),
        against: { "merge, no sizes": of("merge, no sizes") },
        expect: "higher",
        whole: of("none"),
      };
    },
  },
  {
    id: "D9-b",
    claim:
      "Joining neighbouring patches where a series varies least forecasts better than patches of twice the length, " +
      "at the same number of tokens",
    mechanism: "a flat piece needs one token, a sine needs many; a fixed length gives both the same",
    publishedFor: [position, {
      says: "merging speeds up time series transformers and can improve forecasts",
      source: "Götz et al. 2024, arXiv:2405.17951",
    }],
    publishedAgainst: [{
      says: "patches of one fixed length forecast better than points",
      source: "Nie et al., PatchTST, ICLR 2023, arXiv:2211.14730",
    }],
    data:
      `256 values in pieces (walk, sine, flat), 32 patches of 8, 16 may stay; the next 16 values are forecast. Model: ` +
      `${training}`,
    controls: "none, longer patches (pooling), random joins, random patches, ToMe on the patches, keep recent",
    expected: "lower error",
    change: "pieces whose difficulty lies far from the end, or fewer tokens",
    notebook,
    evidence: (rows) => ({
      treatment: arm(rows, "series", "mse")("adaptive"),
      against: arms(rows, "series", "mse", ["longer patches", "random joins", "tome", "random patches"]),
      expect: "lower",
    }),
  },
  {
    id: "D9-c",
    claim:
      "Byte pair encoding with 64 pieces needs fewer bits per base than words of three or six bases and than pieces " +
      "of randomly joined pairs",
    mechanism: "a motif that comes again and again becomes one token, at whatever place it begins",
    publishedFor: [position, {
      says: "byte pair encoding beats overlapping k-mers on genomes at lower cost",
      source: "Zhou et al., DNABERT-2, ICLR 2024, arXiv:2306.15006",
    }],
    publishedAgainst: [{
      says: "single bases keep what tokenizers blur, such as one mutated base",
      source: "Nguyen et al., HyenaDNA, NeurIPS 2023, arXiv:2306.15794",
    }],
    data:
      "Strings of 120 bases with planted motifs of six, each base mutated with probability 0.1. Model: a decoder (2 " +
      "blocks, 32 channels) for each way of cutting and each seed, which sees the same strings equally often",
    controls: "single bases (none), 3-mers and 6-mers (a fixed grid), random pairs with the same vocabulary",
    expected: "lower",
    change: "longer training: a model of single bases can learn all that pieces give, but needs longer",
    notebook,
    evidence: (rows) => ({
      treatment: arm(rows, "strings", "bits per base")("bpe 64"),
      against: arms(rows, "strings", "bits per base", ["single bases", "3-mers", "6-mers", "random pairs 64"]),
      expect: "lower",
    }),
  },
  {
    id: "D9-d",
    claim:
      "Clouds of points are classified better from 16 cluster means with their sizes (DPC-KNN) than from 16 points " +
      "or from means without sizes",
    mechanism: "a mean stands for a place on the surface, and its size says how dense the cloud is there",
    publishedFor: [
      position,
      { says: "clustering keeps more than a grid", source: "Zeng et al., CVPR 2022, arXiv:2204.08680" },
    ],
    publishedAgainst: [{
      says: "farthest point sampling covers a set better than random points",
      source: "Qi et al., PointNet++, NeurIPS 2017, arXiv:1706.02413",
    }],
    data:
      `Clouds of 64 points on a sphere, a torus or a cube, denser on one side. Model: ${training}, without positions`,
    controls: "none, random points, farthest points, means of groups without order (pooling), DPC-KNN without sizes",
    expected: "higher",
    change: "a label that depends on density; means of points on a curved surface lie below it, single points do not",
    notebook,
    evidence: (rows) => {
      const of = arm(rows, "points", "accuracy");
      return {
        treatment: of("dpc-knn with sizes"),
        against: arms(rows, "points", "accuracy", ["dpc-knn, no sizes", "farthest point", "random", "pool"]),
        expect: "higher",
        whole: of("none"),
        random: of("random"),
        chance: 1 / 3,
      };
    },
  },
];
