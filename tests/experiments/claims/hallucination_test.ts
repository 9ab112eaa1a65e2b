/** Grids with pairs of shapes: what is there is where it says, partners go together in training alone, matched means matched. */
import assert from "node:assert/strict";
import {
  CELLS,
  CHANNELS,
  drawImage,
  falsePositives,
  negativeOf,
  PRIOR,
  SHAPES,
} from "../../../experiments/claims/hallucination/model.ts";
import { random } from "../../../lib/random.ts";

const many = (prior: number) => {
  const draw = random(1);
  return Array.from({ length: 2000 }, () => drawImage(draw, prior));
};
const partnerThere = (prior: number) => {
  const partners = many(prior).flatMap(({ present }) => present.flatMap((there, i) => there ? [present[i ^ 1]] : []));
  return partners.reduce((a, b) => a + b, 0) / partners.length;
};

Deno.test("partners go together in training; in the test they say nothing of each other", () => {
  assert.ok(partnerThere(PRIOR) > 0.85, "training");
  const images = many(0.5), rate = (of: typeof images) => of.filter(({ present }) => present[1]).length / of.length;
  const [with0, without0] = [1, 0].map((there) => rate(images.filter(({ present }) => present[0] === there)));
  assert.ok(Math.abs(with0 - without0) < 0.25, `${with0} and ${without0}`);
});

Deno.test("a shape's cells hold it, and are nobody else's", () => {
  const draw = random(2);
  for (let i = 0; i < 50; i++) {
    const { features, present, cellsOf } = drawImage(draw, PRIOR), all = cellsOf.flat();
    assert.equal(features.length, CELLS * CHANNELS);
    assert.equal(new Set(all).size, all.length);
    assert.deepEqual(cellsOf.map((own) => Number(own.length > 0)), [...present]);
  }
});

Deno.test("a question has a kind of no exactly where the shape is absent", () => {
  const image = drawImage(random(3), PRIOR);
  for (let shape = 0; shape < SHAPES; shape++) {
    assert.equal(negativeOf(image, shape) === undefined, image.present[shape] === 1);
  }
});

Deno.test("who knows everything says nothing false; who says yes to all is held to as many yes as are true", () => {
  const negatives = ["random", undefined, "popular", undefined, "adversarial"] as const;
  const knowing = falsePositives([-1, 1, -1, 1, -1], negatives);
  assert.deepEqual([knowing.accuracy, knowing.missed, ...Object.values(knowing.matched)], [1, 0, 0, 0, 0]);
  const yes = falsePositives([5, 4, 3, 2, 1], negatives);
  assert.deepEqual([yes.yesRate, yes.matched.random, yes.matched.popular, yes.missed], [1, 1, 0, 0.5]);
});
