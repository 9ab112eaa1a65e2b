import assert from "node:assert/strict";
import { codeSystems, defineCodeSystem, parseCode } from "../../lib/tokenization/mod.ts";
import { ccs, gems, icd10cm } from "../../lib/data/mod.ts";

Deno.test("each system writes a code in one way, however it came, and refuses what is no code of it", () => {
  const cases: [keyof typeof codeSystems, string, string | undefined][] = [
    ["ICD10CM", "E11.9", "E11.9"],
    ["ICD10CM", " e119 ", "E11.9"],
    ["ICD10CM", "ICD10CM:E11.9", "E11.9"],
    ["ICD10CM", "ICD-10: E11.-", "E11"],
    ["ICD10CM", "S52501A", "S52.501A"],
    ["ICD10CM", "C7A.00", "C7A.00"],
    ["ICD10CM", "250.00", undefined],
    ["ICD10CM", "", undefined],
    ["ICD9CM", "25000", "250.00"],
    ["ICD9CM", "250", "250"],
    ["ICD9CM", "8.45", "008.45"],
    ["ICD9CM", "v5861", "V58.61"],
    ["ICD9CM", "E8889", "E888.9"],
    ["ICD9CM", "E11.9", undefined],
    ["ICD9PROC", "3.31", "03.31"],
    ["ICD9PROC", "0331", "03.31"],
    ["CCS", "[49.]", "49"],
    ["CCS", "049", "49"],
    ["CCS", "0", undefined],
    ["ATC", "a10ba02", "A10BA02"],
    ["ATC", "A10B", "A10B"],
    ["ATC", "A10BA2", undefined],
  ];
  for (const [system, text, expected] of cases) {
    assert.equal(codeSystems[system].normalise(text), expected, `${system} ${text}`);
    if (expected) assert.equal(codeSystems[system].normalise(expected), expected, "twice is once");
  }
});

Deno.test("every code of the real tables is a code of its system", async () => {
  const wrong = [
    ...(await icd10cm.load()).rows.filter(({ level, code }) =>
      (level === "category" || level === "subcategory") && codeSystems.ICD10CM.normalise(code) !== code
    ).map(({ code }) => code),
    ...(await gems.load()).rows.filter(({ icd10, noMap }) => !noMap && !codeSystems.ICD10CM.normalise(icd10))
      .map(({ icd10 }) => icd10),
    ...(await ccs.load()).rows.filter(({ icd9 }) => !codeSystems.ICD9CM.normalise(icd9)).map(({ icd9 }) => icd9),
    ...(await ccs.load()).rows.filter(({ category }) => codeSystems.CCS.normalise(String(category)) === undefined)
      .map(({ category }) => category),
  ];
  assert.deepEqual(wrong, []);
});

Deno.test("a code of no known system is one sentence, and a new system is one value", () => {
  assert.throws(() => parseCode("SNOMED:373555004"), {
    name: "RangeError",
    message: "no coding system is called SNOMED; known are ICD10CM, ICD9CM, ICD9PROC, CCS, ATC, and defineCodeSystem " +
      "makes another one",
  });
  assert.throws(() => parseCode("E11.9"), /does not say its system; write SYSTEM:CODE/);
  assert.throws(() => parseCode("ICD10CM:250.00"), /"ICD10CM:250.00" is no code of ICD-10-CM/);
  const hospital = defineCodeSystem({ name: "LOCAL", label: "our hospital", canonical: (text) => text || undefined });
  assert.deepEqual(parseCode("local:x7", [...Object.values(codeSystems), hospital]), { system: "LOCAL", code: "X7" });
  assert.throws(() => defineCodeSystem({ name: "A B", label: "", canonical: () => "" }), /has no space and no colon/);
});
