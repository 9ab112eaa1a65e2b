/**
 * MIMIC-III demo: the hospital stays of 100 real patients, open data.
 *
 * Johnson, Pollard, Mark, "MIMIC-III Clinical Database Demo (version 1.4)", PhysioNet 2019, doi:10.13026/C2HM2Q;
 * data/mimic3-demo/SOURCE.md.
 *
 * @module
 */
import { dataFolder, remember } from "./files.ts";
import { readHospitalTables } from "./hospital_tables.ts";
import type { VisitTable } from "./visits.ts";

const load = remember((_: "all") =>
  readHospitalTables(new URL("mimic3-demo/", dataFolder), { name: "MIMIC-III demo", layout: "MIMIC-III" })
);

/**
 * The data set. Everybody in it has died since, so a patient's death is no outcome: predict death *in hospital*, length of stay
 * or the codes of the next visit.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { patients, systems } = await mimic3Demo.load();
 * assert.deepEqual(systems, ["ICD9CM", "ICD9PROC", "NDC"]);
 * assert.equal(patients.reduce((sum, { visits }) => sum + visits.length, 0), 129);
 * ```
 */
export const mimic3Demo: { load(): Promise<VisitTable> } = { load: () => load("all") };
