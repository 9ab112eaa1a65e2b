import assert from "node:assert/strict";
import {
  CACHE,
  characters,
  configOf,
  lossByPlace,
  massOnFirst,
  policies,
  textsOf,
} from "../../../experiments/claims/sinks/model.ts";
import { Llama } from "../../../lib/nn/mod.ts";
import { random } from "../../../lib/random.ts";

const chars = await characters();
const model = Llama.create(configOf(chars), random(1));
const texts = textsOf(chars.test, 2, 80, { beginning: "begin token", begin: chars.begin, seed: 1 });

Deno.test("a text begins with its own token, or wherever it was cut; the plays' last tenth is in no training text", () => {
  assert.ok(
    texts.every((text) => text.length === 80 && text[0] === chars.begin && !text.slice(1).includes(chars.begin)),
  );
  const cut = textsOf(chars.test, 2, 80, { beginning: "cut anywhere", begin: chars.begin, seed: 1 });
  assert.ok(cut.every((text) => text.length === 80 && !text.includes(chars.begin)));
  assert.equal(chars.train.length + chars.test.length, 1_115_394);
  assert.notDeepEqual(texts, textsOf(chars.test, 2, 80, { beginning: "begin token", begin: chars.begin, seed: 2 }));
});

Deno.test("until the cache is full nothing is lost; rotary positions cannot tell a window from one counted anew", async () => {
  const loss = async (name: keyof typeof policies) => await lossByPlace(model, texts, policies[name]);
  const all = await loss("all kept"), window = await loss("window"), anew = await loss("window, counted anew");
  const apart = (a: Float32Array, b: Float32Array, from: number, to: number) =>
    Math.max(...Array.from(a.slice(from, to), (value, i) => Math.abs(value - b[from + i])));
  assert.ok(apart(all, window, 0, CACHE - 1) < 1e-4);
  assert.ok(apart(all, window, CACHE + 2, 79) > 1e-4); // then something is
  assert.ok(apart(window, anew, 0, 79) < 1e-3);
});

Deno.test("a model that knows nothing spreads its attention evenly", () => {
  const { heads, even } = massOnFirst(model, texts.map((text) => text.slice(0, 64)));
  assert.equal(heads.length, 8);
  for (const head of heads) assert.ok(Math.abs(head - even) < 0.01, `${head} and ${even}`);
});
