/** Written sums: chains say what they should, nothing gives the answer away, and hiding everything leaves a guess. */
import assert from "node:assert/strict";
import {
  chain,
  DIGITS,
  errorPerToken,
  highest,
  MODULUS,
  prompt,
  question,
  runningSums,
  somePlaces,
  STYLES,
  text,
  VERBOSE,
  verboseChain,
} from "../../../experiments/claims/overthinking/model.ts";
import { random } from "../../../lib/random.ts";

Deno.test("the running sums end in the sum of all digits", () => {
  const draw = random(3);
  for (let i = 0; i < 50; i++) {
    const digits = question(draw), sums = runningSums(digits);
    assert.equal(sums.length, DIGITS);
    assert.equal(sums.at(-1), digits.reduce((a, b) => a + b, 0) % MODULUS);
  }
});

Deno.test("terse, redundant and verbose chains hold the same sums in the same order", () => {
  const draw = random(4), digits = question(draw), sums = runningSums(digits);
  assert.deepEqual(chain("terse", digits, draw, {}), sums);
  assert.deepEqual(chain("redundant", digits, draw, {}).filter((_, i) => i % 2 === 0), sums);
  assert.deepEqual(verboseChain(digits, draw).filter((token) => token < MODULUS), sums);
  assert.deepEqual(chain("every second sum", digits, draw, {}), [sums[1], sums[3]]);
});

Deno.test("a prompt says the style and the digits, and nothing of the answer", () => {
  const [a, b] = [[0, 1, 2, 3], [3, 2, 1, 0]];
  for (const style of STYLES) {
    assert.deepEqual(prompt(style, a).slice(1, 1 + DIGITS), a);
    assert.equal(prompt(style, a)[0], prompt(style, b)[0]);
    assert.equal(prompt(style, a).at(-1), prompt(style, b).at(-1));
  }
});

Deno.test("fillers say nothing of the sums: they are drawn alike whatever the digits", () => {
  const fillers = (digits: number[]) => verboseChain(digits, random(5)).filter((token) => token >= MODULUS);
  assert.deepEqual(fillers([0, 0, 0, 0]), fillers([4, 3, 2, 1]));
});

Deno.test("each style of dropping keeps equally many tokens, in the order of the chain", () => {
  const draw = random(6), digits = question(draw);
  const places = { "important quarter": highest(Array.from({ length: VERBOSE }, (_, i) => i % 5), VERBOSE / 4) };
  assert.equal(chain("random quarter", digits, draw, places).length, VERBOSE / 4);
  assert.equal(chain("important quarter", digits, draw, places).length, VERBOSE / 4);
  for (const kept of [places["important quarter"], somePlaces(5, draw)]) {
    assert.deepEqual(kept, kept.toSorted((a, b) => a - b));
    assert.equal(new Set(kept).size, kept.length);
  }
});

Deno.test("every text fits the model and ends with the answer", () => {
  const draw = random(7);
  for (const style of STYLES) {
    const digits = question(draw);
    assert.equal(text(style, digits, draw).at(-2), runningSums(digits).at(-1));
  }
});

Deno.test("the mistakes per token are those that made the accuracy, guesses taken off", () => {
  const error = 0.03, tokens = 12, known = (1 - error) ** tokens;
  const accuracy = known + (1 - known) / MODULUS;
  assert.ok(Math.abs(errorPerToken(accuracy, tokens)! - error) < 1e-12);
  assert.equal(errorPerToken(1 / MODULUS, tokens), null);
});
