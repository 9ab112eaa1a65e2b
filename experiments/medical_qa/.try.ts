import experiment from "/work/wt/e/experiments/medical_qa/experiment.ts";
for (const prefix of ["MedTok", "none"] as const) {
  console.log(prefix, await experiment.row({ prefix }, { seed: 0, signal: new AbortController().signal }));
}
