/**
 * What a small language model knows of a code from its vector alone: MedTok's, a random one, or none; and MedTok's of another
 * code, which must take the knowledge away.
 *
 * Answers about codes of concepts that no training question was about. One of four is right: chance is 0.25.
 *
 * @module
 */
import { defineExperiment } from "../../lib/experiment/mod.ts";
import { random } from "../../lib/random.ts";
import { plantedWorld } from "../../lib/tokenization/mod.ts";
import { medtokTable } from "../ehr/tables.ts";
import { vectorsOf } from "../ehr/world.ts";
import { type Prefix, type Question, questionsAbout, splitByConcept, trainAnswerer } from "./questions.ts";

export default defineExperiment({
  name: "medical_qa",
  version: 1,
  question: "Does a small language model answer questions about a code from its MedTok vector as a prefix?",
  grid: { prefix: ["MedTok", "MedTok without graph", "MedTok without text", "random vectors", "none"] },
  seeds: [0, 1, 2],
  fast: { grid: { prefix: ["MedTok", "random vectors", "none"] }, seeds: [0] },
  rowSeconds: 200,
  async row({ prefix: name }, { seed, signal, fast }) {
    const world = plantedWorld({ seed });
    const { train, test } = splitByConcept(world, 0.2, seed);
    const draw = random(seed, "questions");
    const questions = { train: questionsAbout(world, train, draw), test: questionsAbout(world, test, draw) };
    const prefix: Prefix = name === "none" ? { kind: "none" } : {
      kind: "vectors",
      vectors: name === "random vectors"
        ? {
          data: random(seed, "random vectors").normals(world.codes.length * 256),
          rows: world.codes.length,
          width: 256,
        }
        : vectorsOf(await medtokTable(name, seed, { signal, ...(fast ? { steps: 40 } : {}) })),
    };
    const model = await trainAnswerer(questions.train, { prefix, seed, signal, ...(fast ? { epochs: 2 } : {}) });
    type Answers = readonly { readonly option: number; readonly word: string }[];
    const share = (answers: Answers, about?: Question["about"], exact = false) => {
      const asked = questions.test.flatMap((question, i) => !about || question.about === about ? [i] : []);
      const right = asked.filter((i) => {
        const { options, answer } = questions.test[i];
        return exact ? answers[i].word === options[answer] : answers[i].option === answer;
      });
      return Number((right.length / asked.length).toFixed(4));
    };
    const own = await model.answer(questions.test);
    const order = random(seed, "shuffled prefixes").permutation(questions.test.length);
    const shuffled = await model.answer(questions.test, (i) => questions.test[order[i]].code);
    const { parameters, seconds } = model;
    model.dispose();
    return {
      accuracy: share(own),
      parent: share(own, "parent"),
      mechanism: share(own, "mechanism"),
      exactParent: share(own, "parent", true),
      exactMechanism: share(own, "mechanism", true),
      shuffled: share(shuffled),
      shuffledParent: share(shuffled, "parent"),
      shuffledMechanism: share(shuffled, "mechanism"),
      questions: questions.test.length,
      parameters,
      trainSeconds: Number(seconds.toFixed(1)),
    };
  },
  paper: {
    cite:
      "Su et al., ICML 2025, arXiv:2502.04397, figure 6: accuracy on other questions, with models of 7 to 8 billion",
    table: new URL("./paper.csv", import.meta.url),
    compare: "accuracy",
  },
});
