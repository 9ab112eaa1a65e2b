/**
 * The Human Disease Ontology of May 2015: what diseases are called, what they are, and which is a kind of which.
 *
 * Schriml et al., "Disease Ontology: a backbone for disease semantic integration", Nucleic Acids Research 2012,
 * doi 10.1093/nar/gkr972; data/disease-ontology/SOURCE.md.
 *
 * @module
 */
import { remember } from "./files.ts";
import { readGzipText, textRows } from "./text_table.ts";

/** What `diseaseOntology.load()` returns. */
export interface DiseaseOntology {
  /** 6,574 diseases; a definition is empty where the ontology gives none. */
  terms: { id: string; name: string; definition: string; synonyms: string[] }[];
  /** 6,921 edges of the hierarchy. */
  isA: { child: string; parent: string }[];
  /** 2,853 codes of diseases. A few rows say ICD9 or ICD10 without the American modification. */
  codes: { id: string; vocabulary: "ICD9CM" | "ICD10CM" | "ICD9" | "ICD10"; code: string }[];
  source: string;
  license: string;
  /** SHA-256 of the file of terms. */
  hash: string;
}

const load = remember(async (_: "all"): Promise<DiseaseOntology> => {
  const [terms, isA, codes] = await Promise.all(
    ["terms", "is_a", "icd_xrefs"].map((name) => readGzipText(`disease-ontology/${name}.tsv.gz`)),
  );
  return {
    terms: textRows(terms.text, ["id", "name", "definition", "synonyms"], "terms.tsv.gz")
      .map(([id, name, definition, synonyms]) => (
        { id, name, definition, synonyms: synonyms ? synonyms.split(" | ").map((synonym) => synonym.trim()) : [] }
      )),
    isA: textRows(isA.text, ["child", "parent"], "is_a.tsv.gz").map(([child, parent]) => ({ child, parent })),
    codes: textRows(codes.text, ["id", "vocabulary", "code"], "icd_xrefs.tsv.gz")
      .map(([id, vocabulary, code]) => ({
        id,
        vocabulary: vocabulary as DiseaseOntology["codes"][number]["vocabulary"],
        code,
      })),
    source: "Schriml et al., Human Disease Ontology, May 2015 (data/disease-ontology/SOURCE.md)",
    license: "CC BY 3.0",
    hash: terms.hash,
  };
});

/**
 * The Human Disease Ontology.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * const { terms } = await diseaseOntology.load();
 * assert.equal(terms.find(({ id }) => id === "DOID:9352")?.name, "type 2 diabetes mellitus");
 * ```
 */
export const diseaseOntology: { load(): Promise<DiseaseOntology> } = { load: () => load("all") };
