/**
 * The catalogue of what reduces text outside a model: prompts before they are read, and tokens of a training signal. Its
 * control is `randomWords`. The collection follows Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative
 * Models", 2025, arXiv:2505.18227, sections 3 and 4.
 *
 * @module
 */
import { display, safely } from "../plot/display.ts";
import { tableBundle } from "../plot/tables.ts";
import { llmlingua } from "./llmlingua.ts";
import { llmlingua2, type TokenClassifier } from "./llmlingua2.ts";
import { longllmlingua } from "./longllmlingua.ts";
import type { MethodFacts } from "./method.ts";
import { randomWords } from "./random_text.ts";
import { selectiveContext } from "./selective_context.ts";
import type { CompressedText, LanguageScorer, TextOptions } from "./text.ts";

/** What compressors are given beside the text; each takes what it needs. */
export interface TextModels {
  readonly scorer: LanguageScorer;
  readonly classifier: TokenClassifier;
  /** Of what is drawn. Default: 1. */
  readonly seed?: number;
}

/** The facts about a method of this catalogue. */
export interface TextMethodFacts
  extends Pick<MethodFacts, "paper" | "section" | "tier" | "trained" | "golden" | "cost" | "differs"> {
  /** What is reduced. */
  readonly reduces: "prompt" | "training loss" | "training text" | "reward";
  /** What it asks of others. */
  readonly needs: string;
}

/** A compressor of prompts, as all of them have it in common. */
export interface TextMethod extends TextMethodFacts {
  /** A larger budget keeps all that a smaller one keeps. */
  readonly monotone: boolean;
  readonly compress: (models: TextModels, text: string, options: TextOptions) => Promise<CompressedText>;
}

/** Every compressor of prompts under its name. */
export const textMethods = {
  selectiveContext: {
    reduces: "prompt",
    paper: "Li et al., Selective Context, 2023",
    section: "3, arXiv:2310.06201",
    tier: 1,
    needs: "a language model",
    trained: false,
    golden: ["selective_context.mask", "selective_context.phrase_info"],
    cost: "one run of the model over the text",
    differs: "from the code in a budget of tokens, not of phrases, and in phrases that need no parser",
    monotone: true,
    compress: ({ scorer }, text, options) => selectiveContext(scorer, text, options),
  },
  llmlingua: {
    reduces: "prompt",
    paper: "Jiang et al., LLMLingua, 2023",
    section: "4.1-4.2, arXiv:2310.05736",
    tier: 1,
    needs: "a language model",
    trained: false,
    golden: ["llmlingua.segment_step", "llmlingua.iterative", "llmlingua.dynamic_ratio"],
    cost: "one run of the model per segment, over what was kept and the segment",
    differs: "from the code in judging a token by its own surprise, not the next one's, and in meeting the budget",
    monotone: false,
    compress: ({ scorer }, text, options) => llmlingua(scorer, text, options),
  },
  longllmlingua: {
    reduces: "prompt",
    paper: "Jiang et al., LongLLMLingua, 2024",
    section: "4, arXiv:2310.06839",
    tier: 1,
    needs: "a language model, a question",
    trained: false,
    golden: ["longllmlingua.rank_and_budget", "llmlingua.segment_step"],
    cost: "one run of the model per document, then as LLMLingua, twice",
    differs: "from the code as LLMLingua does, and in rates of documents that spend the whole budget",
    monotone: false,
    compress: ({ scorer }, text, options) => longllmlingua(scorer, [text], options),
  },
  llmlingua2: {
    reduces: "prompt",
    paper: "Pan et al., LLMLingua-2, 2024",
    section: "4, arXiv:2403.12968",
    tier: 2,
    needs: "a classifier of tokens",
    trained: true,
    golden: ["llmlingua2.word_threshold"],
    cost: "one run of the classifier over the text",
    differs: "from the code in a budget that is met to the word",
    monotone: true,
    compress: ({ classifier }, text, options) => llmlingua2(classifier, text, options),
  },
  randomWords: {
    reduces: "prompt",
    paper: "the control of the others",
    section: "none",
    tier: 1,
    needs: "a tokenizer",
    trained: false,
    golden: [],
    cost: "none",
    differs: "from nothing: it is a control",
    monotone: true,
    compress: ({ scorer, seed = 1 }, text, options) => randomWords(scorer, text, { ...options, seed }),
  },
} as const satisfies Readonly<Record<string, TextMethod>>;

/** The name of a compressor of prompts. */
export type TextMethodName = keyof typeof textMethods;

/** What reduces a training signal: functions, of which the catalogue says where they come from. */
const signals: Readonly<Record<string, TextMethodFacts>> = {
  rho1: {
    reduces: "training loss",
    paper: "Lin et al., Rho-1, 2024",
    section: "2.2, arXiv:2404.07965",
    tier: 1,
    needs: "a reference model",
    trained: false,
    golden: [],
    cost: "one run of the reference model over the batch",
    differs: "from the paper in nothing that it says; its training code is not public",
  },
  tokenSkip: {
    reduces: "training text",
    paper: "Xia et al., TokenSkip, 2025",
    section: "3, arXiv:2502.12067",
    tier: 2,
    needs: "a compressor of texts",
    trained: false,
    golden: [],
    cost: "as the compressor's",
    differs: "from the paper in taking any compressor",
  },
  lengthRewards: {
    reduces: "reward",
    paper: "Aggarwal and Welleck, L1, 2025; Luo et al., O1-Pruner, 2025; Hou et al., ThinkPrune, 2025",
    section: "3, arXiv:2503.04697; 3, arXiv:2501.12570; 3, arXiv:2504.01296",
    tier: 2,
    needs: "nothing",
    trained: false,
    golden: [],
    cost: "none",
    differs: "from the papers in nothing",
  },
};

/**
 * The catalogue of text: compressors of prompts, and what reduces a training signal; shows itself as a table.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(textCatalogue.rows().map(({ method }) => method).slice(0, 2), ["selectiveContext", "llmlingua"]);
 * ```
 */
export const textCatalogue = {
  methods: textMethods,
  /** One row per method. */
  rows(): Record<string, string | number>[] {
    return Object.entries<TextMethodFacts>({ ...textMethods, ...signals }).map(([method, facts]) => ({
      method,
      reduces: facts.reduces,
      paper: facts.paper,
      section: facts.section,
      needs: facts.needs,
      trained: facts.trained ? "yes" : "no",
      golden: facts.golden.join(", ") || "none",
      cost: facts.cost,
      differs: facts.differs,
    }));
  },
  /** The table, as a notebook shows it. */
  [display](): ReturnType<typeof safely> {
    return safely("the catalogue of text", () => {
      const rows = textCatalogue.rows();
      const names = Object.keys(rows[0]);
      return tableBundle({
        rows: rows.length,
        columns: names.length,
        names,
        cells: rows.map((row) => names.map((name) => row[name])),
      });
    });
  },
};
