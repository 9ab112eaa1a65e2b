/**
 * The experiment's page, written from its rows by `task reproduce vlm`.
 *
 * @module
 */
import { bySeed, judge, markdownTable, type Row } from "../../lib/experiment/mod.ts";
import { mean, pairedDifference } from "../../lib/stats.ts";
import { claims } from "./claims.ts";
import experiment from "./experiment.ts";

const kinds = ["colour", "half", "twin"] as const;
type Kind = (typeof kinds)[number];

/** By what each arm chooses, in the order of the page. */
const families: Readonly<Record<string, readonly string[]>> = {
  "Before the first block, without the question": [
    "random",
    "pooling",
    "token norm",
    "divprune",
    "fastervlm",
    "vispruner",
    "visionzip",
    "prumerge",
    "prumergePlus",
  ],
  "Before the first block, by the question": [
    "cdpruner",
    "cdpruner, another's question",
    "trim",
    "trim, another's question",
  ],
  "Inside the decoder": [
    "random, block 1",
    "withdrawn, block 1",
    "random, block 2",
    "withdrawn, block 2",
    "divprune, block 2",
    "fastv",
    "sparsevlm",
    "dart",
    "pyramiddrop",
    "withdrawn, block 3",
  ],
};

const controls: Readonly<Record<string, string>> = {
  fastv: "random, block 2",
  sparsevlm: "random, block 2",
  dart: "random, block 2",
  pyramiddrop: "random, block 2",
  "divprune, block 2": "random, block 2",
};

/** Of one arm, one number per seed. */
function of(rows: readonly Row[], method: string, keep: number, kind: Kind, positions = "original"): number[] {
  return bySeed(rows, { method, keep, positions }, kind);
}

const percent = (values: readonly number[]) => values.length ? 100 * mean(values) : null;

function tableOf(rows: readonly Row[], methods: readonly string[]): string {
  return markdownTable(
    methods.map((method): Row => ({
      method,
      ...Object.fromEntries(
        kinds.flatMap((kind) =>
          experiment.grid.keep.map((keep) => [`${kind}, ${keep}`, percent(of(rows, method, keep, kind))])
        ),
      ),
    })),
    3,
  );
}

/** Which of some arms differ from a control on a kind of question: `+` above it, `-` below it, by intervals over seeds. */
export function differing(
  rows: readonly Row[],
  methods: readonly string[],
  control: (method: string) => string,
  keep: number,
  kind: Kind,
): { above: string[]; below: string[]; level: string[] } {
  const found = { above: [] as string[], below: [] as string[], level: [] as string[] };
  for (const method of methods) {
    if (method === control(method)) continue;
    const { low, high } = pairedDifference(of(rows, method, keep, kind), of(rows, control(method), keep, kind));
    (low > 0 ? found.above : high < 0 ? found.below : found.level).push(method);
  }
  return found;
}

function sentence({ above, below, level }: ReturnType<typeof differing>): string {
  const list = (names: readonly string[]) => names.length ? names.map((name) => `\`${name}\``).join(", ") : "none";
  return `above it: ${list(above)}; below it: ${list(below)}; not to be told from it: ${list(level)}`;
}

/** The text of README.md. */
export function readmeOf(rows: readonly Row[]): string {
  const [blind, guided, inside] = Object.values(families);
  const few = Math.min(...experiment.grid.keep), some = experiment.grid.keep[1];
  const tables = Object.entries(families).map(([title, methods]) => `### ${title}\n\n${tableOf(rows, methods)}`);
  const places = ["divprune", "cdpruner", "divprune, block 2"].map((method): Row => ({
    method,
    ...Object.fromEntries(
      kinds.flatMap((kind) => [
        [`${kind}, kept`, percent(of(rows, method, some, kind))],
        [`${kind}, counted anew`, percent(of(rows, method, some, kind, "reindex"))],
      ]),
    ),
  }));
  const recalls = ["random", "divprune", "cdpruner", "trim"].map((method): Row => ({
    method,
    ...Object.fromEntries(
      experiment.grid.keep.map((keep) => [
        `${keep} tokens`,
        percent(bySeed(rows, { method, keep, positions: "original" }, "recall")),
      ]),
    ),
  }));
  const verdicts = claims.map((claim): Row => {
    const { verdict } = judge(claim, rows);
    return { card: claim.id, claim: claim.claim, verdict: verdict.verdict, reason: verdict.reason };
  });
  const there = new Set(rows.map(({ key }) => key)).size;
  const cells = Object.values(experiment.grid).reduce((product, values) => product * values.length, 1) *
    experiment.seeds.length;
  return `# Vision-language model

**${experiment.question}** A model of 204,000 parameters that answers questions about simulated images. It asks for an object's
colour, for the half of the image that it is in, and for its twin: the shape of the other object of the same colour. The first two
need one look at the image, the twin needs two. ${
    there === cells ? `All ${cells} rows` : `**${there} of ${cells} rows are there**`
  }, of ${experiment.seeds.length} seeds with 60 images and 720 questions each; it is one trained
model. Written from \`rows.csv\` by \`task reproduce vlm\`.

| file | what |
| --- | --- |
| [models/tiny_vlm.ts](models/tiny_vlm.ts) | the model: linear projector, image tokens first, a causal decoder of four blocks; beside it attention pooling in the manner of CLIP |
| [evaluate.ts](evaluate.ts) | \`ask(model, questions, { reducer })\`: accuracy by kind of question, and whether the cells that an answer needs were still there |
| [train.ts](train.ts) | trains the weights in [data/tiny-vlm](../../data/tiny-vlm/SOURCE.md), about six minutes on one shared core |
| [experiment.ts](experiment.ts) | every method at 32, 16 and 8 of 64 tokens, places kept and counted anew |
| [claims.ts](claims.ts) | the cards that are judged by it |

With all 64 tokens: ${
    kinds.map((kind) => `${kind} ${percent(of(rows, "none", 32, kind))!.toFixed(1)} %`).join(", ")
  }. With none of them before block 1: ${
    kinds.map((kind) => `${kind} ${percent(of(rows, "withdrawn, block 1", 32, kind))!.toFixed(1)} %`).join(", ")
  }.

## Right answers in percent, by kind of question and tokens kept

Places are the original ones.

${tables.join("\n")}
## What differs

By 95 % intervals of the paired difference over seeds.

- Chance, at ${some} tokens, before the first block. Colour: ${
    sentence(differing(rows, blind, () => "random", some, "colour"))
  }. Twin: ${sentence(differing(rows, blind, () => "random", some, "twin"))}.
- Pooling, the control that looks at nothing, at ${few} tokens. Colour: ${
    sentence(differing(rows, blind, () => "pooling", few, "colour"))
  }. Twin: ${sentence(differing(rows, blind, () => "pooling", few, "twin"))}.
- Chance, at ${few} tokens, for those that read the question, or another image's. Colour: ${
    sentence(differing(rows, guided, () => "random", few, "colour"))
  }. Twin: ${sentence(differing(rows, guided, () => "random", few, "twin"))}. The twin is not named in its question.
- Chance at the same place, at ${few} tokens, for those that act before block 2, by their twins: ${
    sentence(differing(rows, inside.filter((name) => name in controls), (name) => controls[name], few, "twin"))
  }. FastV and SparseVLM look at the attention of the block before, PyramidDrop at that of the block that is about to run.

## Places

Right answers in percent at ${some} tokens, with the kept tokens' places as they were and counted anew.

${markdownTable(places, 3)}
## What the questions need, and what is kept of it

Share of the cells that an answer needs, in percent, that are among the kept tokens.

${markdownTable(recalls, 3)}
## Cards

${markdownTable(verdicts)}
The questions before the twin was added did not tell methods apart inside the decoder: one look is over in block 0. The
specification's pilot, another training of those two questions, still saw a difference before block 1 and none before block 2.
`;
}
