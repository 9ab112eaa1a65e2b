/**
 * Which facts of a long text a model still finds when most of its cache is gone: with the question unknown when slots are
 * dropped, and with the question known.
 *
 * A seed is a training of the model from first weights and texts of its own, and 60 texts of 96 tokens with ten facts
 * each to ask it about. The rows of a seed share its model: a process trains it for the first of them. A cell reads its
 * texts once and asks with every policy: a line each. The small run trains nothing: it asks data/tiny-lm, which is the model
 * of seed 0, about the texts of each seed.
 *
 * @module
 */
import { remember } from "../../../lib/data/files.ts";
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { defineExperiment } from "../../../lib/experiment/mod.ts";
import { Llama } from "../../../lib/nn/mod.ts";
import { mean } from "../../../lib/stats.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { trainFinder } from "../../tiny_lm/training.ts";
import { policiesFor } from "./policies.ts";
import { ask, find, forget, read } from "./recall.ts";

/** Texts of a seed; of the small run; facts of a text. */
const TEXTS = 60, FAST_TEXTS = 30, FACTS = 10;

const models = new Map<number, Promise<Llama>>();

/** The model of a seed, trained when it is first asked for. */
function modelOf(seed: number, signal: AbortSignal): Promise<Llama> {
  let model = models.get(seed);
  if (!model) {
    model = trainFinder({ seed, signal }).then((trained) => trained.model);
    model.catch(() => models.delete(seed)); // a training that was stopped is no model: the next row begins it anew
    models.set(seed, model);
  }
  return model;
}

const shipped = remember((_: "the model") => Llama.load("tinyLM"));

export default defineExperiment({
  name: "memory",
  version: 2,
  question:
    "Which hidden facts are found again when slots of the cache are dropped before, or after, the question is known?",
  grid: { question: ["unknown", "known"], removed: [0.25, 0.5, 0.75, 0.9] },
  seeds: [0, 1, 2, 3, 4],
  fast: { grid: { removed: [0.5, 0.9] }, seeds: [0, 1, 2] },
  data: [new URL("../../../data/tiny-lm/", import.meta.url)],
  rowSeconds: 8,
  async row({ question, removed }, { seed, fast, signal }) {
    const model = fast ? await shipped("the model") : await modelOf(seed, signal);
    const facts = hiddenFacts({ texts: fast ? FAST_TEXTS : TEXTS, seed: 1000 + seed, facts: FACTS });
    const batch = ask(facts, { known: question === "known" });
    // who guesses among the ten things that a text names
    const chance = mean(Array.from(facts.answer, (thing, q) => {
      const told = facts.answer.subarray(q - q % FACTS, q - q % FACTS + FACTS);
      return told.filter((other) => other === thing).length / FACTS;
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
