/**
 * General Equivalence Mappings from ICD-9-CM to ICD-10-CM diagnoses.
 *
 * CMS; data/icd9-icd10-gems/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";

/** One mapping. Codes are written without dots, as CMS does. */
export interface Gem {
  icd9: string;
  icd10: string;
  /** The two do not mean quite the same. */
  approximate: boolean;
  /** There is no counterpart; `icd10` is `NoDx`. */
  noMap: boolean;
  /** Only together with the other rows of the same scenario does it say what the ICD-9 code says. */
  combination: boolean;
  scenario: number;
  choiceList: number;
}

/** What `gems.load()` returns. */
export interface Gems {
  /** 25,342 mappings. */
  rows: Gem[];
  source: string;
  license: string;
  /** SHA-256 of the file. */
  hash: string;
}

const load = remember(async (_: "all"): Promise<Gems> => {
  const { text, hash } = await readGzipText("icd9-icd10-gems/icd_cm_9_to_10_mapping.csv.gz");
  const rows = textRows(text, ["icd_9", "icd_10", "flags"], "icd_cm_9_to_10_mapping.csv.gz", ",")
    .map(([icd9, icd10, flags]) => ({
      icd9,
      icd10,
      approximate: flags[0] === "1",
      noMap: flags[1] === "1",
      combination: flags[2] === "1",
      scenario: Number(flags[3]),
      choiceList: Number(flags[4]),
    }));
  return {
    rows,
    source: "CMS, General Equivalence Mappings (data/icd9-icd10-gems/SOURCE.md)",
    license: "public domain",
    hash,
  };
});

/**
 * The General Equivalence Mappings.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { rows } = await gems.load();
 * assert.equal(rows.find(({ icd9 }) => icd9 === "25000")?.icd10, "E119"); // type 2 diabetes
 * ```
 */
export const gems: { load(): Promise<Gems> } = { load: () => load("all") };
