/**
 * A prompt that is shortened before it is read, and a cache that is shortened afterwards: do the two compose?
 *
 * The texts hide ten facts among fillers; a model that has learnt to find them is asked when both reductions are over. The
 * prompt keeps the tokens that surprise the model most (self-information, as Selective Context has it), the cache the keys
 * that differ most (KeyDiff); the control draws both at random. A seed is a training of the model and texts of its own.
 *
 * Kong et al., "Token Reduction Should Go Beyond Efficiency in Generative Models", 2025, arXiv:2505.18227, section 5.1
 * (end-to-end sparsification). Li et al., "Compressing Context to Enhance Inference Efficiency", EMNLP 2023,
 * arXiv:2310.06201; Park et al., "KeyDiff", 2025, arXiv:2504.15364.
 *
 * @module
 */
import { remember } from "../../../lib/data/files.ts";
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { Llama } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";
import { keyDiff, randomEviction } from "../../../lib/reduction/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { trainFinder } from "../../tiny_lm/training.ts";
import { ask, find, forget, read } from "../memory/recall.ts";
import { logOdds, shortened, surprises } from "./prompt.ts";

const TEXTS = 60, FAST_TEXTS = 20, FACTS = 10;
/** Shares that are kept of the prompt, and of the slots that it fills. */
export const SHARES = [1, 0.75, 0.5, 0.25] as const;

const shipped = remember((_: "the model") => Llama.load("tinyLM"));

export default defineExperiment({
  name: "compose",
  version: 1,
  question: "Do a shorter prompt and a smaller cache lose as much together as each by itself, added up?",
  grid: { facts: [FACTS] },
  seeds: [0, 1, 2, 3, 4],
  fast: { seeds: [0, 1, 2] },
  data: [new URL("../../../data/tiny-lm/", import.meta.url)],
  rowSeconds: 60,
  async row(_, { seed, fast, signal }) {
    const model = fast ? await shipped("the model") : (await trainFinder({ seed, signal })).model;
    const facts = hiddenFacts({ texts: fast ? FAST_TEXTS : TEXTS, seed: 2000 + seed, facts: FACTS });
    const batch = ask(facts, { known: false });
    const chance = mean(Array.from(facts.answer, (thing, q) => {
      const told = facts.answer.subarray(q - q % FACTS, q - q % FACTS + FACTS);
      return told.filter((other) => other === thing).length / FACTS;
    }));
    const draw = random(seed, "tokens of a prompt");
    const scores = {
      "by score": surprises(model, batch.prompt),
      "at random": Array.from({ length: batch.prompt.shape[0] }, () => draw.uniforms(batch.prompt.shape[1])),
    };
    const lines = [];
    for (const [choice, score] of Object.entries(scores)) {
      for (const promptKept of SHARES) {
        const short = shortened(batch, score, promptKept);
        const memory = read(model, short.prompt, seed);
        for (const cacheKept of SHARES) {
          const keep = Math.round(cacheKept * short.from);
          const policy = cacheKept === 1
            ? undefined
            : choice === "by score"
            ? keyDiff({ keepRate: cacheKept })
            : randomEviction({ keepRate: cacheKept });
          const { recall } = find(model, memory, policy, short);
          lines.push({
            choice,
            promptKept,
            cacheKept,
            recall: Number(recall.toFixed(5)),
            logOdds: Number(logOdds(recall, facts.answer.length).toFixed(5)),
            slots: keep,
            share: Number((keep / batch.from).toFixed(5)),
            chance: Number(chance.toFixed(5)),
          });
        }
        forget(memory);
        short.prompt.dispose();
      }
    }
    tf.dispose([batch.prompt, batch.rest]);
    if (!fast) model.dispose();
    return lines;
  },
});
