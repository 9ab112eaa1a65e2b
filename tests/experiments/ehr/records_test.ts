import assert from "node:assert/strict";
import { CodeVectors } from "../../../experiments/ehr/code_input.ts";
import { makeModel } from "../../../experiments/ehr/models/mod.ts";
import { type Labels, Records } from "../../../experiments/ehr/records.ts";
import { labelsOf, predictor } from "../../../experiments/ehr/train.ts";
import { plantedRecords, plantedSplits } from "../../../experiments/ehr/world.ts";
import { type Patient, visitTable } from "../../../lib/data/mod.ts";
import { tf } from "../../../lib/tensor/mod.ts";
import { reserved } from "../../../lib/tokenization/mod.ts";

const vectors = new CodeVectors({ mode: "learned", rows: 3 });
const index = (_: string, code: string) => ({ a: 0, b: 1, c: 2 })[code];

function patient(id: string, visits: string[][], sex = "F"): Patient {
  return {
    id,
    sex,
    ethnicity: "",
    born: null,
    died: null,
    visits: visits.map((codes, v) => ({
      id: `${id}.${v}`,
      start: 1000 * v,
      end: 1000 * v + 48,
      kind: "EMERGENCY",
      died: null,
      codes: codes.map((code) => ({ system: "S", code, kind: "diagnosis" })),
    })),
  };
}

function recordsOf(patients: Patient[], values: [string, number[]][], more: object = {}): Records {
  const table = visitTable(patients, { name: "test", systems: ["S"], withoutCodes: "keep" });
  return new Records(table, { index, vectors, labels: { names: ["y"], values: new Map(values) }, ...more });
}

const three = [patient("1", [["a"]]), patient("2", [["b"]]), patient("3", [["c"]])];

Deno.test("labels are joined by the patient's id, in whatever order they come", () => {
  const values: [string, number[]][] = [["3", [1]], ["1", [0]], ["2", [1]], ["9", [0]]];
  const records = recordsOf(three, values);
  const { ids, tensors } = records.batch([2, 0, 1]);
  assert.deepEqual(ids, ["3", "1", "2"]);
  assert.deepEqual(tensors.labels.arraySync(), [[1], [0], [1]]);
  // a split of the table keeps each patient's own label: upstream looks it up by place in the list of all
  const split = recordsOf([three[2]], values).batch([0]);
  assert.deepEqual([split.ids, split.tensors.labels.arraySync()], [["3"], [[1]]]);
  tf.dispose([...Object.values(tensors), ...Object.values(split.tensors)]);
});

Deno.test("a patient without a label is refused", () => {
  assert.throws(() => recordsOf(three, [["1", [0]], ["2", [0]]]), /patient 3 of test has no labels/);
});

Deno.test("an unknown code is kept as unknown and counted; upstream drops it", () => {
  const records = recordsOf([patient("1", [["a", "zzz"], []])], [["1", [1]]]);
  assert.deepEqual([records.counts.codes, records.counts.unknown], [2, 1]);
  const { tensors } = records.batch([0]);
  assert.deepEqual(tensors.codes.arraySync(), [[[5, reserved.UNK], [reserved.MISSING, 0]]]);
  tf.dispose(Object.values(tensors));
});

Deno.test("too many visits or codes are cut and counted; upstream crashes", () => {
  const long = patient("1", [["a"], ["a", "b", "c"], ["b", "c"]]);
  const records = recordsOf([long], [["1", [1]]], { shape: { visits: 2, codes: 2 } });
  assert.deepEqual([records.counts.cutVisits, records.counts.cutCodes], [1, 1]);
  const { tensors } = records.batch([0]);
  assert.deepEqual(tensors.codes.arraySync(), [[[5, 6], [6, 7]]]); // the last visits stay
  tf.dispose(Object.values(tensors));
});

Deno.test("a sex has the same number in every split", () => {
  const train = recordsOf([patient("1", [["a"]], "M"), patient("2", [["a"]], "F")], [["1", [1]], ["2", [0]]]);
  const test = recordsOf([patient("3", [["a"]], "F")], [["3", [1]]], { sexes: train.sexes });
  const [a, b] = [train.batch([1]), test.batch([0])];
  assert.deepEqual(a.tensors.sex.arraySync(), b.tensors.sex.arraySync());
  tf.dispose([...Object.values(a.tensors), ...Object.values(b.tensors)]);
});

Deno.test("a test set is predicted as it is: each row once, none drawn again, prevalence unchanged", async () => {
  const splits = plantedSplits(0, { train: 10, validation: 5, test: 33 });
  const { vectors, records, kindOf } = plantedRecords(splits, {
    mode: "learned",
    rows: splits.world.planted.codes.length,
  });
  const model = makeModel("reference", { vectors, records: records.train, kindOf, seed: 1, width: 16, layers: 1 });
  const predict = predictor(model);
  const probabilities = await predict(records.test);
  assert.equal(probabilities.length, 33);
  assert.ok(new Set(probabilities.map((row) => row.join())).size > 30);
  const share = (labels: readonly ArrayLike<number>[]) => labels.reduce((sum, row) => sum + row[1], 0) / labels.length;
  const { values } = splits.labels as Labels;
  assert.equal(share(labelsOf(records.test)), share(splits.tables.test.patients.map(({ id }) => values.get(id)!)));
  predict.dispose();
  model.dispose();
});
