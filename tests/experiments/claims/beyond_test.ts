import assert from "node:assert/strict";
import { codeArms, mergeRepeats, patients } from "../../../experiments/claims/beyond/codes.ts";
import { padded, predict, setModel } from "../../../experiments/claims/beyond/model.ts";
import { clouds, clustersOf, farthest, LEFT, pointArms } from "../../../experiments/claims/beyond/points.ts";
import { HORIZON, LENGTH, series, spanArms } from "../../../experiments/claims/beyond/series.ts";
import { bytePairs, cuts, kmers, motifRecall, motifsOf, strands } from "../../../experiments/claims/beyond/strings.ts";
import { random } from "../../../lib/random.ts";

Deno.test("a patient's labels are what the events say, and each combination is equally often there", () => {
  const all = patients(8, random(1));
  for (const [i, { events, rare, often }] of all.entries()) {
    assert.equal(rare, events.some(({ code }) => code === 37));
    assert.equal(often, events.filter(({ code }) => code === 5).length >= 6);
    assert.equal(Number(rare) + 2 * Number(often), i % 4);
  }
});

Deno.test("merged repeats hold all events, so counts can be read off their sizes exactly; what is pruned is lost", () => {
  for (const patient of patients(4, random(2))) {
    const merged = mergeRepeats(patient);
    assert.equal(merged.reduce((sum, { size }) => sum + size, 0), 64);
    const mass = merged.reduce((sum, { features, size }) => sum + features[4] * size, 0);
    assert.equal(mass, patient.events.filter(({ code }) => code === 5).length);
    const five = merged.find(({ features }) => features[4] === 1)!;
    assert.equal(five.features.at(-1), patient.events.findLast(({ code }) => code === 5)!.value);
    for (const [name, arm] of Object.entries(codeArms)) {
      const tokens = arm(patient, random(3));
      assert.equal(tokens.length, name === "none" ? 64 : merged.length, name);
      const sum = tokens.reduce((total, { size }) => total + size, 0);
      assert.equal(
        sum,
        name.startsWith("keep") || name === "random" || name.endsWith("sizes") ? merged.length : 64,
        name,
      );
    }
  }
});

Deno.test("the model of sets does not see the order of points, nor padding: logits change by less than 1e-5", () => {
  const [{ points }] = clouds(1, random(4));
  const model = setModel(3, 3, 5);
  const tokens = pointArms["dpc-knn with sizes"](points, random(6));
  const [a, b] = [tokens, random(7).shuffle(tokens)].map((set) =>
    predict(model, padded([set, pointArms.none(points, random(8))]))
  );
  const change = Math.max(...a.map((value, i) => Math.abs(value - b[i])));
  assert.ok(change < 1e-5, `${change}`);
  const alone = predict(model, padded([tokens]));
  assert.ok(alone.every((value, i) => Math.abs(value - a[i]) < 1e-5));
});

Deno.test("clusters of a cloud do not depend on the order of its points, up to their numbers", () => {
  const [{ points }] = clouds(1, random(9));
  const order = random(10).permutation(points.length);
  const [one, other] = [clustersOf(points), clustersOf(order.map((i) => points[i]))];
  const mapped = new Map(order.map((i, place) => [one[i], other[place]]));
  assert.equal(mapped.size, LEFT);
  assert.ok(order.every((i, place) => mapped.get(one[i]) === other[place]));
});

Deno.test("farthest points are distinct points of the cloud", () => {
  const [{ points }] = clouds(1, random(11));
  const chosen = farthest(points, LEFT, random(12));
  assert.equal(new Set(chosen).size, LEFT);
  assert.ok(chosen.every((point) => points.includes(point)));
});

Deno.test("spans of all arms cover a series without gaps, and as many are left as asked for", () => {
  const [{ values, kinds, kind, future }] = series(1, random(13));
  assert.deepEqual([values.length, future.length, kinds.at(-1)], [LENGTH, HORIZON, kind]);
  for (const [name, spans] of Object.entries(spanArms)) {
    const made = spans(values, random(14));
    assert.equal(made.length, name === "none" ? 32 : 16, name);
    assert.ok(made.every(({ start, end }, i) => start === (made[i - 1]?.end ?? 0) && end > start), name);
    assert.equal(made.at(-1)!.end, LENGTH);
  }
});

Deno.test("all cuts give the string back; byte pairs join what is frequent; recall counts whole motifs", () => {
  const strings = strands(20, motifsOf(1), random(15));
  for (const [name, learn] of Object.entries(cuts)) {
    const { vocabulary, cut } = learn(strings.map(({ bases }) => bases), random(16));
    for (const { bases } of strings) assert.equal(cut(bases).map((token) => vocabulary[token]).join(""), bases, name);
  }
  assert.deepEqual(bytePairs(["ACACGACA"], 5).vocabulary, ["A", "C", "G", "T", "AC"]);
  const planted = [{ bases: "ACGTACACGTAC", motifs: [{ start: 0, intact: true }, { start: 4, intact: true }] }];
  assert.equal(motifRecall(planted, kmers(6)), 0.5);
});
