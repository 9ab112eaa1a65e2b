/**
 * Health records as the models read them: visits, codes as ids, ages and times, padded to one shape; and labels, which are
 * joined to them by the patient's id, never by place.
 *
 * The authors' tutorial looks labels up by place in another list than the inputs', and resamples the test set so that half
 * of it is positive; here a row knows whose it is, and each batch is checked.
 *
 * @module
 */
import type { CodeKind, Patient, VisitTable } from "../../lib/data/mod.ts";
import { tf } from "../../lib/tensor/mod.ts";
import { reserved, reservedCount } from "../../lib/tokenization/mod.ts";
import type { CodeVectors } from "./code_input.ts";

/** Labels of patients, by id. */
export interface Labels {
  readonly names: readonly string[];
  /** 0 or 1 for each name. */
  readonly values: ReadonlyMap<string, ArrayLike<number>>;
}

/** What a code's id is, where it has one; UNK else. Codes count from 0. */
export type CodeIndex = (system: string, code: string) => number | undefined;

/** A batch on the device. */
export interface RecordBatch {
  /** int32 [batch, visits, codes]; 0 is padding. */
  readonly codes: tf.Tensor3D;
  /** int32 [batch, visits, codes]: 0 padding, 1 diagnosis, 2 procedure, 3 drug. */
  readonly kinds: tf.Tensor3D;
  /** int32 [batch, visits]: 0 padding, 1 emergency, 2 other. */
  readonly visitKind: tf.Tensor2D;
  /** int32 [batch, visits]: age in months at admission; 0 where unknown. */
  readonly ageMonths: tf.Tensor2D;
  /** int32 [batch, visits]: days since the first visit. */
  readonly day: tf.Tensor2D;
  /** int32 [batch, visits]: 1 to 366. */
  readonly dayOfYear: tf.Tensor2D;
  /** int32 [batch] */
  readonly sex: tf.Tensor1D;
  /** int32 [batch] */
  readonly ethnicity: tf.Tensor1D;
  /** float32 [batch, labels], 0 or 1. */
  readonly labels: tf.Tensor2D;
}

/** Sizes of a batch. */
export interface RecordShape {
  readonly visits: number;
  /** Places for codes in a visit. */
  readonly codes: number;
}

/** Options of {@link Records}. */
export interface RecordsOptions {
  readonly index: CodeIndex;
  readonly vectors: CodeVectors;
  readonly labels: Labels;
  /** Longer ones are cut, and counted: the last visits stay, and the first codes. Default: the longest there are. */
  readonly shape?: RecordShape;
  /**
   * Numbers of sexes and ethnicities. Take one list for training and test data: numbers by order of appearance would mean
   * something else in each. Default: the ones that occur, sorted.
   */
  readonly sexes?: readonly string[];
  readonly ethnicities?: readonly string[];
}

interface Row {
  readonly patient: Patient;
  /** Place of its labels, found by id. */
  readonly labels: number;
  readonly codes: readonly (readonly number[])[];
  readonly kinds: readonly (readonly number[])[];
}

const kindNumber: Record<CodeKind, number> = { diagnosis: 1, procedure: 2, drug: 3 };
const HOURS_OF_YEAR = 365.25 * 24;

/** Records ready to be cut into batches. */
export class Records {
  readonly shape: RecordShape;
  readonly labelNames: readonly string[];
  readonly sexes: readonly string[];
  readonly ethnicities: readonly string[];
  /** What was looked up and not found, or did not fit: nothing is dropped without being counted. */
  readonly counts: {
    readonly codes: number;
    readonly unknown: number;
    readonly cutVisits: number;
    readonly cutCodes: number;
  };
  readonly #rows: readonly Row[];
  readonly #labels: readonly { readonly id: string; readonly values: ArrayLike<number> }[];

  /** @throws {RangeError} Where a patient has no visit, or no label. */
  constructor({ patients, name }: VisitTable, options: RecordsOptions) {
    const { index, vectors, labels } = options;
    const counts = { codes: 0, unknown: 0, cutVisits: 0, cutCodes: 0 };
    const labelled = [...labels.values].map(([id, values]) => ({ id, values }));
    const placeOf = new Map(labelled.map(({ id }, place) => [id, place]));
    const rows = patients.map((patient): Row => {
      if (!patient.visits.length) {
        throw new RangeError(`patient ${patient.id} of ${name} has no visit; drop the patient`);
      }
      const place = placeOf.get(patient.id);
      if (place === undefined) {
        throw new RangeError(
          `patient ${patient.id} of ${name} has no labels, although ${labels.values.size} others have; label each ` +
            "patient by id, or drop the patient",
        );
      }
      const codes: number[][] = [], kinds: number[][] = [];
      for (const visit of patient.visits) {
        const ids: number[] = [], of: number[] = [];
        for (const { system, code, kind } of visit.codes) {
          const known = index(system, code);
          counts.codes++;
          if (known === undefined) counts.unknown++;
          for (const id of vectors.idsOf(known === undefined ? reserved.UNK : known + reservedCount)) {
            ids.push(id);
            of.push(kindNumber[kind]);
          }
        }
        if (!ids.length) {
          ids.push(reserved.MISSING);
          of.push(1);
        }
        codes.push(ids);
        kinds.push(of);
      }
      return { patient, labels: place, codes, kinds };
    });
    this.shape = options.shape ?? {
      visits: Math.max(...rows.map(({ codes }) => codes.length)),
      codes: Math.max(...rows.flatMap(({ codes }) => codes.map(({ length }) => length))),
    };
    for (const { codes } of rows) {
      counts.cutVisits += Math.max(0, codes.length - this.shape.visits);
      for (const ids of codes) counts.cutCodes += Math.max(0, ids.length - this.shape.codes);
    }
    const listed = (of: (patient: Patient) => string) => [...new Set(patients.map(of))].sort();
    this.sexes = options.sexes ?? listed(({ sex }) => sex);
    this.ethnicities = options.ethnicities ?? listed(({ ethnicity }) => ethnicity);
    this.labelNames = labels.names;
    this.counts = counts;
    this.#rows = rows;
    this.#labels = labelled;
  }

  get count(): number {
    return this.#rows.length;
  }

  /** Whose row it is. */
  id(row: number): string {
    return this.#rows[row].patient.id;
  }

  /** Labels of a row, looked up by the patient's id. */
  labelsOf(row: number): number[] {
    return Array.from(this.#labels[this.#rows[row].labels].values);
  }

  /** A row's codes, visit by visit, as ids. */
  codesOf(row: number): readonly (readonly number[])[] {
    return this.#rows[row].codes;
  }

  patient(row: number): Patient {
    return this.#rows[row].patient;
  }

  /**
   * Some rows on the device, and whose they are. The tensors are the caller's.
   *
   * @throws {Error} If a label would belong to another patient than the input beside it.
   */
  batch(places: readonly number[]): { ids: string[]; tensors: RecordBatch } {
    const { visits, codes: width } = this.shape;
    const size = places.length;
    const whole = () => new Int32Array(size * visits);
    const codes = new Int32Array(size * visits * width), kinds = new Int32Array(size * visits * width);
    const [visitKind, ageMonths, day, dayOfYear] = [whole(), whole(), whole(), whole()];
    const sex = new Int32Array(size), ethnicity = new Int32Array(size);
    const labels = new Float32Array(size * this.labelNames.length);
    const ids = places.map((place, b) => {
      const { patient, labels: labelPlace, codes: own, kinds: ownKinds } = this.#rows[place];
      const label = this.#labels[labelPlace];
      if (label.id !== patient.id) {
        throw new Error(`row ${b} of a batch has the codes of ${patient.id}, but the labels of ${label.id}`);
      }
      const skip = Math.max(0, own.length - visits);
      for (let v = 0; v + skip < own.length; v++) {
        const visit = patient.visits[v + skip];
        const at = b * visits + v;
        codes.set(own[v + skip].slice(0, width), at * width);
        kinds.set(ownKinds[v + skip].slice(0, width), at * width);
        visitKind[at] = visit.kind === "EMERGENCY" ? 1 : 2;
        ageMonths[at] = patient.born === null ? 0 : Math.floor((visit.start - patient.born) / HOURS_OF_YEAR * 12);
        day[at] = Math.floor((visit.start - patient.visits[skip].start) / 24);
        dayOfYear[at] = 1 + Math.floor((visit.start % HOURS_OF_YEAR + HOURS_OF_YEAR) % HOURS_OF_YEAR / 24);
      }
      sex[b] = this.sexes.indexOf(patient.sex) + 1; // 0: one that the list does not have
      ethnicity[b] = this.ethnicities.indexOf(patient.ethnicity) + 1;
      labels.set(Array.from(label.values), b * this.labelNames.length);
      return patient.id;
    });
    const plane = (values: Int32Array) => tf.tensor2d(values, [size, visits], "int32");
    return {
      ids,
      tensors: {
        codes: tf.tensor3d(codes, [size, visits, width], "int32"),
        kinds: tf.tensor3d(kinds, [size, visits, width], "int32"),
        visitKind: plane(visitKind),
        ageMonths: plane(ageMonths),
        day: plane(day),
        dayOfYear: plane(dayOfYear),
        sex: tf.tensor1d(sex, "int32"),
        ethnicity: tf.tensor1d(ethnicity, "int32"),
        labels: tf.tensor2d(labels, [size, this.labelNames.length]),
      },
    };
  }
}
