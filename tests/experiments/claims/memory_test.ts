/** Asking with a mask over the cache is asking with a cache that is really smaller. */
import assert from "node:assert/strict";
import { ask, forget, goOn, read, staying } from "../../../experiments/claims/memory/recall.ts";
import { hiddenFacts } from "../../../lib/data/mod.ts";
import { cacheView, Llama, predict } from "../../../lib/nn/mod.ts";
import { keyDiff, knorm, snapKV, streamingLLM, tova } from "../../../lib/reduction/mod.ts";
import { tf, tidy } from "../../../lib/tensor/mod.ts";

Deno.test("a mask over dropped slots gives the logits of a cache without them, for policies of every kind", async () => {
  const model = await Llama.load("tinyLM");
  const facts = hiddenFacts({ texts: 2, seed: 77, facts: 10 });
  const batch = ask(facts, { known: false });
  const prompts = batch.prompt.arraySync(), rests = batch.rest.arraySync();
  const memory = read(model, batch.prompt, 1);
  const budget = { keepRate: 0.4 };
  const policies = [
    undefined,
    tova(budget),
    knorm(budget),
    keyDiff(budget),
    snapKV(budget),
    streamingLLM({ ...budget, parity: true }),
  ];
  for (const policy of policies) {
    const masked = tidy(() => {
      const views = memory.map(cacheView);
      return goOn(model, views, staying(policy, views), batch.rest, batch.from).arraySync();
    });
    for (const q of [0, 7, 13]) {
      const smaller = await predict(model, prompts[q], rests[q], policy ? { cache: policy } : {});
      const rows = smaller.arraySync() as number[][];
      smaller.dispose();
      // predict's row 1 has read the first token of the question, as the mask's row 0
      const worst = Math.max(...rows[1].map((value, token) => Math.abs(value - masked[q][0][token])));
      assert.ok(worst < 1e-3, `${policy?.name ?? "no policy"}, question ${q}: ${worst}`);
    }
  }
  forget(memory);
  tf.dispose([batch.prompt, batch.rest]);
});
