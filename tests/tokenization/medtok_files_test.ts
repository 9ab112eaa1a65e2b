import assert from "node:assert/strict";
import pl from "nodejs-polars";
import { readNpy, writeTable } from "../../lib/data/mod.ts";
import {
  codesOfMappings,
  readCodeJson,
  readCodeMappings,
  readDescriptionPieces,
  readMedTokArrays,
  readPhenotypeIndex,
  readPrimeKG,
  readQuestions,
} from "../../lib/tokenization/mod.ts";

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** What numpy.save writes: version 1, the header filled up to a multiple of 64. */
function npy(descr: string, shape: number[], numbers: ArrayBufferView<ArrayBuffer>, order = "False"): Uint8Array {
  const list = shape.length === 1 ? `${shape[0]},` : shape.join(", ");
  const text = `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': (${list}), }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64 - 10;
  const header = new TextEncoder().encode(text.padEnd(length - 1) + "\n");
  return Uint8Array.of(
    0x93,
    ...new TextEncoder().encode("NUMPY"),
    1,
    0,
    length & 255,
    length >> 8,
    ...header,
    ...new Uint8Array(numbers.buffer),
  );
}

Deno.test("the authors' tables are read; a missing column is named", () =>
  inFolder(async (folder) => {
    const file = `${folder}/all_codes_mappings.parquet`;
    const rows = { med_code: ["E11.9", "A10BA02"], desc: ["type 2 diabetes", "metformin"] };
    await writeTable(file, pl.DataFrame({ ...rows, pkg_index_list: [[1], [0, 1]] }));
    const mapped = await readCodeMappings(file);
    assert.deepEqual(mapped.map(({ nodes }) => [...nodes]), [[1], [0, 1]]);

    const kg = `${folder}/kg.csv`;
    const header = "relation,display_relation,x_index,x_id,x_type,x_name,x_source,y_index,y_id,y_type,y_name,y_source";
    const both = [
      "indication,treats,0,D,drug,metformin,X,1,M,disease,diabetes,Y",
      "indication,treats,1,M,disease,diabetes,Y,0,D,drug,metformin,X",
    ];
    await Deno.writeTextFile(kg, [header, ...both].join("\n"));
    const graph = await readPrimeKG(kg);
    assert.deepEqual([...graph.neighbours], [1, 0], "one edge, both directions");
    const codes = codesOfMappings(mapped, graph, {
      systemOf: (code) => /^[A-Z]\d\d[A-Z]/.test(code) ? "ATC" : "ICD10CM",
    });
    assert.deepEqual(codes.map(({ system, code, nodes }) => [system, code, ...nodes]), [["ICD10CM", "E11.9", 0, 1], [
      "ATC",
      "A10BA02",
      0,
      1,
    ]]);

    await writeTable(file, pl.DataFrame(rows));
    await assert.rejects(readCodeMappings(file), /has no column "pkg_index_list"; it has med_code, desc/);
    await Deno.writeTextFile(kg, "relation,x_index\na,1\n");
    await assert.rejects(readPrimeKG(kg), /has no column "x_type"; it has relation, x_index/);
  }));

Deno.test("the authors' arrays and objects are read; what does not fit is one sentence", () =>
  inFolder(async (folder) => {
    await Deno.writeFile(
      `${folder}/tokens_all.npy`,
      npy("<i8", [2, 4, 1], BigInt64Array.of(1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n)),
    );
    await Deno.writeFile(`${folder}/embeddings_all.npy`, npy("<f4", [2, 2], Float32Array.of(1, 2, 3, 4)));
    const arrays = await readMedTokArrays(folder);
    assert.deepEqual([arrays.codes, [...arrays.tokens!], [...arrays.embeddings!], arrays.weights], [
      2,
      [1, 2, 3, 4, 5, 6, 7, 8],
      [1, 2, 3, 4],
      undefined,
    ]);
    await Deno.writeFile(`${folder}/weights_all.npy`, npy("<f4", [1], Float32Array.of(1)));
    await assert.rejects(readMedTokArrays(folder), /weights_all\.npy has 1 codes, but the other files have 2/);

    const file = `${folder}/a.npy`;
    await Deno.writeFile(file, npy("<f4", [2, 2], Float32Array.of(1, 2, 3, 4), "True"));
    await assert.rejects(readNpy(file), /holds <f4 in Fortran order, which is not read/);
    await Deno.writeFile(file, npy("<c8", [1], Float32Array.of(1, 2)));
    await assert.rejects(readNpy(file), /holds <c8, which is not read/);
    await Deno.writeFile(file, npy("<f4", [9], Float32Array.of(1)));
    await assert.rejects(readNpy(file), /a\.npy is cut short/);
    await Deno.writeTextFile(file, "no array at all");
    await assert.rejects(readNpy(file), /is no NPY file/);

    const json = `${folder}/code2embeddings.json`;
    await Deno.writeTextFile(json, '{"E11.9": [0.5, 1.5]}');
    assert.deepEqual([...(await readCodeJson(json)).get("E11.9")!], [0.5, 1.5]);
    await Deno.writeTextFile(json, '{"E11.9": "x"}');
    await assert.rejects(readCodeJson(json), /the value of "E11\.9" is no list of numbers/);
    await Deno.writeTextFile(json, '[{"input": ["Which?"]}]');
    await assert.rejects(readQuestions(json), /entry 0: "input" \[question, letter\]/);
  }));

Deno.test("the authors' pickles are read as far as they are data", async () => {
  const fixture = (name: string) => new URL(`../data/pickles/${name}.pkl`, import.meta.url);
  const phenotypes = await readPhenotypeIndex(fixture("phenotype_index"));
  assert.deepEqual([phenotypes.size, phenotypes.get(4), phenotypes.get(17)], [24, 88494, 88494]);
  assert.equal(new Set(phenotypes.values()).size, 23, "two phenotypes have one node");
  const pieces = await readDescriptionPieces(fixture("med_code_descriptions"));
  assert.deepEqual(pieces.get(0), { ids: Int32Array.of(101, 2828, 1016, 102, 0), mask: Int32Array.of(1, 1, 1, 1, 0) });
  assert.deepEqual([...pieces.get(1)!.ids], [101, 102], "one row of a batch of one");
  await assert.rejects(readPhenotypeIndex(fixture("ordered")), /asks for collections\.OrderedDict/);
  await assert.rejects(readPhenotypeIndex(fixture("med_code_descriptions")), /a phenotype's number and a node's are/);
  await assert.rejects(readDescriptionPieces(fixture("phenotype_index")), /rows with input_ids and attention_mask are/);
});
