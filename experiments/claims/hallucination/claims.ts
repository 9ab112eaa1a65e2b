/**
 * The cards on hallucination: whether cells out of sight make a model say less often that something is there which is not.
 *
 * @module
 */
import { bySeed, type Claim, type Row } from "tessera/experiment/mod.ts";
import type { Arm } from "./model.ts";

const falsely = (rows: readonly Row[], arm: Arm) => bySeed(rows, { arm }, "false_positives");

/** What the toy must know, and where chance selection must lie, before anything is read off it. */
const known = (rows: readonly Row[]) => ({
  whole: bySeed(rows, { arm: "none" satisfies Arm }, "accuracy"),
  random: bySeed(rows, { arm: "random" satisfies Arm }, "accuracy"),
  chance: 0.5,
});

const shared = {
  data:
    "Images of 36 noisy cells with up to six shapes in three pairs; in training 90 % of the partners of a shape that is " +
    "there are there too, in the test half. A decoder of two blocks behind a projector, 700 updates; nine cells stay. Judged " +
    "is the share of yes to absent shapes, the mean over POPE's three kinds, where each arm says yes as often as is true. " +
    "With more noise (0.45) the whole model stayed below 0.9 on two seeds; noise was lowered to 0.4 after that run.",
  notebook: "41_does_shorter_think_better",
  publishedFor: [{
    says: "decoding with fewer visual tokens and a contrast to masked ones lowers hallucination on CHAIR and POPE",
    source: "Zhuang et al., VASparse, CVPR 2025",
  }],
  publishedAgainst: [{
    says: "POPE falls from 85.9 to 75.1 with 64 visual tokens, to 52.5 with ToMe",
    source: "Zhang et al., SparseVLM, ICML 2025",
  }],
};

export const claims: readonly Claim[] = [
  {
    ...shared,
    id: "C2b-attention",
    claim: "Keeping the quarter of the cells that the question looks at most leads to fewer false yes",
    mechanism: "cells that do not matter dilute attention, and habit fills the gap",
    controls: "none, random, diversity, pooling, each at nine cells; a smaller model at equal cost was not run",
    expected: "about as none, and lower than random and pooling",
    change: "noisier images or longer ones, in which attention is diluted more",
    evidence: (rows) => ({
      treatment: falsely(rows, "question attention"),
      against: {
        "all cells": falsely(rows, "none"),
        "random cells": falsely(rows, "random"),
        "diverse cells": falsely(rows, "diversity"),
        "pooled cells": falsely(rows, "pooling"),
      },
      expect: "lower",
      ...known(rows),
    }),
  },
  {
    ...shared,
    id: "C2b-oracle",
    claim: "Keeping the cells that hold a shape, whichever is asked for, leads to fewer false yes",
    mechanism: "noise that looks like a shape is out of sight; the shapes that are there, the lure among them, stay",
    controls: "none, random; the oracle knows where shapes are, not what is asked",
    expected: "lower: the most that a choice of cells could gain here",
    change: "false yes that come from habit alone: no choice of cells would mend them",
    evidence: (rows) => ({
      treatment: falsely(rows, "oracle"),
      against: { "all cells": falsely(rows, "none"), "random cells": falsely(rows, "random") },
      expect: "lower",
      ...known(rows),
    }),
  },
  {
    ...shared,
    id: "C2b-contrast",
    claim:
      "Contrasting the answer with that of a model that does not see what the question looks at leads to fewer false yes",
    mechanism: "what the masked model says too is habit, and is taken off: log p + 0.1 (log p - log p masked)",
    controls: "none; random cells are shown beside it",
    expected: "lower, a little",
    change: "a larger weight than VASparse's 0.1",
    evidence: (rows) => ({
      treatment: falsely(rows, "contrast"),
      against: { "all cells": falsely(rows, "none") },
      expect: "lower",
      ...known(rows),
    }),
  },
];
