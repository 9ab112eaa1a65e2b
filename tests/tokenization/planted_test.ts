import assert from "node:assert/strict";
import { plantedCodes } from "../../lib/data/mod.ts";
import {
  crossSystemHits,
  leakReport,
  type MedTokConfig,
  medtokConfig,
  pairAUC,
  plantedWorld,
  trainMedTok,
  usage,
  wordVectors,
} from "../../lib/tokenization/mod.ts";

Deno.test("the planted world has its published sizes, and says each factor where it should", () => {
  const easy = plantedCodes({ seed: 0 });
  assert.equal(easy.nodes.length, 360 + 10 + 192 + 48);
  assert.ok(Math.abs(easy.codes.length - 3240) < 150, `${easy.codes.length}`);
  const severe = easy.concepts.filter((concept) => concept.severe).length / 360;
  assert.ok(Math.abs(severe - 0.3) < 0.08, `${severe}`);
  assert.equal(new Set(easy.codes.map(({ code }) => code)).size, easy.codes.length, "no code twice");
  for (const { system, description, concept } of easy.codes) {
    const { category, severe } = easy.concepts[concept];
    const words = description.split(" ");
    const own = words.filter((word) => word.startsWith(`category${category}word`)).length;
    const synonyms = words.filter((word) => word.startsWith(`category${category}synonym`)).length;
    assert.deepEqual([words.length, own, synonyms], [5, system === "C" ? 1 : 3, system === "C" ? 2 : 0]);
    assert.equal(words.filter((word) => word.startsWith(severe ? "severe" : "mild")).length, 1);
  }
  const { codes, graph, planted } = plantedWorld({ seed: 0 });
  const sizes = codes.map(({ nodes }) => nodes.length);
  const mean = sizes.reduce((a, b) => a + b) / sizes.length;
  assert.ok(mean > 10 && mean < 13 && Math.max(...sizes) <= 24, `${mean}`);
  const genes = [...codes[0].nodes].map((node) => graph.nodes[node]).filter(({ kind }) => kind === "gene");
  const { module } = planted.concepts[planted.codes[0].concept];
  assert.ok(genes.filter(({ id }) => id.startsWith(`gene ${module}.`)).length >= 5);

  const hard = plantedCodes({ seed: 0, world: "hard" });
  assert.ok(Math.abs(hard.codes.length - 1620) < 100, `${hard.codes.length}`);
  assert.ok(hard.codes.every(({ description }) => description.split(" ").length === 7));
  assert.deepEqual(plantedCodes({ seed: 5 }), plantedCodes({ seed: 5 }));
  assert.notDeepEqual(plantedCodes({ seed: 5 }).codes, plantedCodes({ seed: 6 }).codes);
  assert.throws(() => plantedCodes({ world: "odd" as "easy" }), /a world is "easy" or "hard", but it is "odd"/);
});

Deno.test({
  name:
    "trained on the planted world, each slot knows what its modality shows; without the packing losses all collapses",
  ignore: !Deno.env.has("TESSERA_FULL"), // two trainings of 900 steps
  async fn() {
    const world = plantedWorld({ seed: 0 });
    const concept = world.planted.codes.map((code) => code.concept);
    const factor = (name: string, of: (i: number) => number) => ({ name, values: concept.map(of) });
    const { concepts } = world.planted;
    const factors = [
      factor("module", (i) => concepts[i].module),
      factor("category", (i) => concepts[i].category),
      factor("severity", (i) => Number(concepts[i].severe)),
    ];
    const train = async (changes: Partial<MedTokConfig>) => {
      const config = medtokConfig("lite", { nodeRows: world.graph.nodes.length + 2, ...changes });
      const { tokenizer, alarms } = await trainMedTok(world.codes, {
        config,
        encoder: wordVectors(),
        graph: world.graph,
        show: false,
      });
      const table = await tokenizer.encodeBatch(world.codes, { show: false });
      tokenizer.dispose();
      return {
        table,
        alarms,
        health: usage(table),
        hits: crossSystemHits(table, "A", "C", (a, b) => concept[a] === concept[b]),
      };
    };

    const full = await train({});
    assert.ok(full.health.used > 0.6 * 360, `${full.health.used} rows`);
    for (const [name, { used, rows }] of Object.entries(full.health.regions)) {
      assert.ok(used >= 0.3 * rows, `${name}: ${used} of ${rows}`);
    }
    assert.deepEqual(full.alarms, []);
    const auc = pairAUC(full.table, concept);
    assert.ok(auc > 0.85, `pair AUC ${auc}`);
    const { probes } = leakReport(full.table, factors, concept);
    const read = (slot: string, name: string) => probes.find((each) => each.slot === slot && each.factor === name)!;
    assert.ok(read("graphSpecific", "module").accuracy >= 3 / 24);
    assert.ok(read("textSpecific", "module").accuracy < 2 / 24);
    for (const slot of ["textSpecific", "textShared"]) assert.ok(read(slot, "category").accuracy >= 5 / 30, slot);
    assert.ok(read("graphSpecific", "category").accuracy < 2 / 30);
    const severity = read("textShared", "severity");
    assert.ok(severity.accuracy > severity.majority);

    const collapsed = await train({ sharedWeight: 0, specificWeight: 0, klWeight: 0 });
    assert.ok(collapsed.health.used < 0.4 * 360, `${collapsed.health.used} rows`);
    assert.ok(collapsed.alarms.some((alarm) => /region uses \d+ of 120 rows/.test(alarm)), "collapse is reported");
    assert.ok(pairAUC(collapsed.table, concept) < auc);
    assert.ok(collapsed.hits.rate < full.hits.rate);
  },
});
