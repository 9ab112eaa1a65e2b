import assert from "node:assert/strict";
import {
  questionsAbout,
  splitByConcept,
  trainAnswerer,
  wordsOfQuestion,
} from "../../../experiments/medical_qa/questions.ts";
import { random } from "../../../lib/random.ts";
import { plantedWorld } from "../../../lib/tokenization/mod.ts";

const world = plantedWorld({ concepts: 30 });
const { planted } = world;

Deno.test("a question has four options of which one is right, and its words say nothing about the code", () => {
  const questions = questionsAbout(world, [0, 7], random(1));
  assert.equal(questions.length, 4);
  for (const { code, about, options, answer } of questions) {
    assert.equal(new Set(options).size, 4);
    const { category, module } = planted.concepts[planted.codes[code].concept];
    assert.equal(options[answer], about === "parent" ? `parent${Math.floor(category / 3)}` : `mechanism${module}`);
  }
  assert.deepEqual(wordsOfQuestion(questions[0]), wordsOfQuestion(questions[2]));
});

Deno.test("test questions are about concepts that no training question was about", () => {
  const { train, test } = splitByConcept(world, 0.3, 1);
  const concepts = (codes: number[]) => new Set(codes.map((code) => planted.codes[code].concept));
  assert.deepEqual([...concepts(test)].filter((concept) => concepts(train).has(concept)), []);
  assert.equal(train.length + test.length, planted.codes.length);
});

Deno.test("from a prefix that tells the answer it is learnt, from another code's it goes, and a code may be missing", async () => {
  const codes = planted.codes.map((_, i) => i);
  const questions = questionsAbout(world, codes, random(1)).filter(({ about }) => about === "mechanism");
  const data = new Float32Array(codes.length * 24);
  planted.codes.forEach(({ concept }, i) => data[i * 24 + planted.concepts[concept].module] = 1);
  const prefix = { kind: "vectors", vectors: { data, rows: codes.length, width: 24 } } as const;
  const model = await trainAnswerer(questions, { prefix, seed: 1, width: 32, epochs: 25 });
  const rightOf = (answers: { option: number }[]) =>
    answers.filter(({ option }, i) => option === questions[i].answer).length / answers.length;
  const own = await model.answer(questions);
  const others = random(2).permutation(questions.length);
  const shuffled = await model.answer(questions, (i) => questions[others[i]].code);
  assert.ok(rightOf(own) > 0.9, `${rightOf(own)}`);
  assert.ok(rightOf(shuffled) < 0.5, `${rightOf(shuffled)}`);
  // the same prefix in training and in use: asked alone or among others, the answer is the same
  assert.deepEqual((await model.answer([questions[5]]))[0], own[5]);
  assert.equal((await model.answer(questions.slice(0, 3), () => -1)).length, 3);
  model.dispose();
});
