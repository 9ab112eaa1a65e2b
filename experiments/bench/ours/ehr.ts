/**
 * Workloads of electronic health records, in this library.
 *
 * @module
 */
import { plantedCodes, plantedPatients } from "tessera/data/mod.ts";
import { flatten, randomKey, tf } from "tessera/tensor/mod.ts";
import { CodeVectors } from "../../ehr/code_input.ts";
import type { EHRModel } from "../../ehr/model.ts";
import { behrt } from "../../ehr/models/behrt.ts";
import { ethos } from "../../ehr/models/ethos.ts";
import { gtBEHRT } from "../../ehr/models/gt_behrt.ts";
import { multEHR } from "../../ehr/models/mult_ehr.ts";
import { transformEHR } from "../../ehr/models/transformehr.ts";
import { Records } from "../../ehr/records.ts";
import { type Parameter, pattern } from "../workload.ts";
import type { Job, RecordSizes } from "../workloads/ehr.ts";
import { numbersOf, type Ready, trained } from "./worker.ts";

/** Makes a workload ready. */
export function prepare(job: Job, parameters: readonly Parameter[]): Ready {
  const model = modelOf(job);
  const variables = flatten(model.parameters);
  for (const [name, { data, shape }] of numbersOf(parameters)) {
    const variable = variables.get(name);
    if (!(variable instanceof tf.Variable)) throw new Error(`${model.name} has no variable ${name}`);
    tf.tidy(() => variable.assign(tf.tensor(data, shape)));
  }
  const batch = job.model === "ETHOS" ? timelinesOf(job) : recordsOf(job.sizes);
  const names = Object.keys(batch);
  const stage = model.stages.at(-1)!;
  const loss = (key: tf.Tensor, ...inputs: tf.Tensor[]) =>
    stage.loss(Object.fromEntries(names.map((name, i) => [name, inputs[i]])), key as tf.Tensor1D);
  return trained(model.parameters, loss, [randomKey(1), ...Object.values(batch)]);
}

function modelOf({ model, sizes, timeline }: Job): EHRModel<object> {
  const { visits, codes, vocabulary, width, layers, heads, mlpWidth, outputs } = sizes;
  const vectors = new CodeVectors({ mode: "learned", rows: vocabulary });
  const common = { width, layers, heads, mlpWidth, outputs, dropout: 0, positions: visits, pretrain: false };
  switch (model) {
    case "BEHRT":
      return behrt(vectors, { ...common, ages: 1322 }, 1) as EHRModel<object>;
    case "TransformEHR":
      return transformEHR(vectors, { ...common, positions: visits * codes, offsets: 1460 }, 1) as EHRModel<object>;
    case "GT-BEHRT":
      return gtBEHRT(
        vectors,
        { ...common, part: width / 4, ages: 1320, visitTypes: 3, pretrain: "none" },
        1,
      ) as EHRModel<object>;
    case "MulT-EHR":
      return multEHR(vectors, (id) => 1 + id % 3, { ...common, sexes: 2 }, 1) as EHRModel<object>;
    case "ETHOS": {
      // any records: they say only which words there are beside the codes
      const { table, labels, values } = plantedPatients(plantedCodes({ concepts: 6 }), { patients: 2 });
      const index = () => 0;
      const records = new Records(table, { index, vectors, labels: { names: labels, values }, sexes: ["F", "M"] });
      const config = { ...common, positions: timeline.tokens, futures: 1 };
      return ethos(vectors, records, config, 1) as unknown as EHRModel<object>;
    }
  }
}

/** Ids of codes that look drawn. */
function idsOf(salt: number, count: number, from: number, below: number): Int32Array {
  return Int32Array.from(pattern(salt, count), (value) => from + Math.floor((value + 1) / 2 * (below - from)));
}

/** Records in which every place has a code. */
function recordsOf({ batch, visits, codes, vocabulary, outputs }: RecordSizes): Record<string, tf.Tensor> {
  const ids = idsOf(900, batch * visits * codes, 5, 5 + vocabulary);
  const perVisit = (of: (v: number) => number) =>
    tf.tensor2d(Int32Array.from({ length: batch * visits }, (_, i) => of(i % visits)), [batch, visits], "int32");
  return {
    codes: tf.tensor3d(ids, [batch, visits, codes], "int32"),
    kinds: tf.tensor3d(ids.map((id) => 1 + id % 3), [batch, visits, codes], "int32"),
    visitKind: perVisit((v) => 1 + v % 2),
    ageMonths: perVisit((v) => 600 + v),
    day: perVisit((v) => 30 * v),
    dayOfYear: perVisit((v) => 1 + 30 * v),
    sex: tf.ones([batch], "int32"),
    ethnicity: tf.zeros([batch], "int32"),
    labels: tf.tensor2d(pattern(901, batch * outputs).map((value) => Number(value > 0)), [batch, outputs]),
  };
}

function timelinesOf({ sizes: { batch, vocabulary }, timeline: { tokens, special } }: Job): Record<string, tf.Tensor> {
  const ids = idsOf(902, batch * (tokens + 1), 5, 5 + vocabulary + special);
  const at = (shift: number) =>
    tf.tensor2d(
      Int32Array.from({ length: batch * tokens }, (_, i) =>
        ids[Math.floor(i / tokens) * (tokens + 1) + i % tokens + shift]),
      [batch, tokens],
      "int32",
    );
  return { tokens: at(0), targets: at(1) };
}
