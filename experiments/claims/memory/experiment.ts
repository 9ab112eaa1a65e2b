/**
 * Which facts of a long text a model still finds when most of its cache is gone: with the question unknown when slots are
 * dropped, and with the question known.
 *
 * A seed is a training of the model from first weights and texts of its own, and 60 texts of 96 tokens with ten facts
 * each to ask it about. The rows of a seed share its model: a process trains it for the first of them. A cell reads its
 * texts once and asks with every policy: a line each.
 *
 * @module
 */
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import type { Llama } from "../../../lib/nn/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { trainFinder } from "../../tiny_lm/training.ts";
import { policiesFor } from "./policies.ts";
import { ask, find, forget, read } from "./recall.ts";

/** What is trained and asked, and in the small run: shorter texts with fewer facts. */
const sizes = {
  full: { epochs: 7, longest: 96, facts: 10, texts: 60 },
  fast: { epochs: 5, longest: 48, facts: 6, texts: 30 },
};

const models = new Map<string, Promise<Llama>>();

/** The model of a seed, trained when it is first asked for. */
function modelOf(size: keyof typeof sizes, seed: number, signal: AbortSignal): Promise<Llama> {
  const name = `${size} ${seed}`;
  let model = models.get(name);
  if (!model) {
    model = trainFinder({ ...sizes[size], seed, signal }).then((trained) => trained.model);
    model.catch(() => models.delete(name)); // a training that was stopped is no model: the next row begins it anew
    models.set(name, model);
  }
  return model;
}

export default defineExperiment({
  name: "memory",
  version: 2,
  question:
    "Which hidden facts are found again when slots of the cache are dropped before, or after, the question is known?",
  grid: { question: ["unknown", "known"], removed: [0.25, 0.5, 0.75, 0.9] },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { removed: [0.5, 0.9] }, seeds: [0, 1, 2] },
  rowSeconds: 25,
  async row({ question, removed }, { seed, fast, signal }) {
    const size = fast ? "fast" : "full", { texts, longest, facts: each } = sizes[size];
    const model = await modelOf(size, seed, signal);
    const facts = hiddenFacts({ texts, seed: 1000 + seed, length: longest, facts: each });
    const batch = ask(facts, { known: question === "known" });
    // who guesses among the ten things that a text names
    const chance = mean(Array.from(facts.answer, (thing, q) => {
      const told = facts.answer.subarray(q - q % each, q - q % each + each);
      return told.filter((other) => other === thing).length / each;
    }));
    const memory = read(model, batch.prompt, seed);
    const lines = Object.entries(policiesFor(1 - removed, batch.wanted)).map(([policy, cache]) => {
      const { recall, byDepth, kept } = find(model, memory, cache, batch);
      return {
        policy,
        recall,
        ...Object.fromEntries(byDepth.map((share, fifth) => [`fifth${fifth + 1}`, share])),
        kept1: kept[0],
        kept2: kept[1],
        chance,
      };
    });
    forget(memory);
    tf.dispose([batch.prompt, batch.rest]);
    return lines;
  },
});
