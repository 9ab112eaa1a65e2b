import assert from "node:assert/strict";
import { type CacheChange, type CachePolicy, eachLayer, Llama } from "tessera/nn/mod.ts";
import { random } from "tessera/random.ts";
import { cacheOverTime } from "tessera/reduction/mod.ts";
import { tf } from "tessera/tensor/mod.ts";

const model = Llama.create(
  { vocabulary: 9, width: 8, depth: 2, heads: 4, keyHeads: 2, mlpWidth: 8, context: 32 },
  random(1),
);
const prompt = [1, 2, 3, 4, 5, 6];

/** Head 0 keeps the first two tokens of the prompt, head 1 the last two. */
const policy = (more: CacheChange = {}): CachePolicy => ({
  name: "two",
  needs: [],
  afterPrompt: eachLayer(() => ({ keep: tf.tensor3d([[[0, 1], [4, 5]]], undefined, "int32"), ...more })),
});

Deno.test("cacheOverTime() sees what each head holds, and the attention to what it has dropped", async () => {
  const { frames, heads, made } = await cacheOverTime(model, prompt, { cache: policy(), maxTokens: 4, every: 2 });
  assert.deepEqual(heads, ["0.0", "0.1", "1.0", "1.1"]);
  assert.deepEqual(frames.map(({ time }) => time), [6, 8]);
  assert.deepEqual(frames[1].held.map((row) => Array.from(row)), [
    [1, 1, 0, 0, 0, 0, 1, 1],
    [0, 0, 0, 0, 1, 1, 1, 1],
    [1, 1, 0, 0, 0, 0, 1, 1],
    [0, 0, 0, 0, 1, 1, 1, 1],
  ]);
  // by hand: the ninth token's queries, two of which share a head of keys
  const text = tf.tensor2d([[...prompt, ...made.tokens]], undefined, "int32");
  const map = model.forward(text, { attention: true }).attention[1].arraySync()[0];
  const lost = [2, 3].map((query) => map[query][8][0] + map[query][8][1] + map[query][8][2] + map[query][8][3]);
  assert.ok(Math.abs(frames[1].lost[3] - (lost[0] + lost[1]) / 2) < 1e-6);
});

Deno.test("cacheOverTime() refuses a policy after which nobody knows where a key stood", async () => {
  await assert.rejects(
    cacheOverTime(model, prompt, { cache: policy({ rerotate: true }), maxTokens: 4 }),
    /two turns keys/,
  );
});
