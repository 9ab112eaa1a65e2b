import assert from "node:assert/strict";
import { join } from "node:path";
import pl from "nodejs-polars";
import { readTable, writeTable } from "../../lib/data/mod.ts";

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const rows = [
  { method: "tome", keepRate: 0.5, seed: 0, note: 'a "quoted", text' },
  { method: "größer", keepRate: 1, seed: 1, note: "tab\there" },
];

Deno.test("writeTable() and readTable() give back a table, in all three formats and with any case of the ending", () =>
  inFolder(async (folder) => {
    for (const name of ["rows.csv", "rows.tsv", "rows.parquet", "ROWS.CSV"]) {
      const path = join(folder, name);
      await writeTable(path, pl.DataFrame(rows));
      assert.deepEqual((await readTable(path)).toRecords(), rows, name);
    }
    assert.equal([...Deno.readDirSync(folder)].length, 4);
    assert.deepEqual((await readTable(join(folder, "rows.parquet"), { columns: ["seed"] })).columns, ["seed"]);
  }));

Deno.test("readTable() passes Polars' options on", () =>
  inFolder(async (folder) => {
    const path = join(folder, "codes.csv");
    await Deno.writeTextFile(path, "# a remark\ncode,n\n0010,1\nNA,2\n");
    const table = await readTable(path, { dtypes: { code: pl.Utf8 }, nullValues: "NA", commentPrefix: "#" });
    assert.deepEqual(table.toRecords(), [{ code: "0010", n: 1 }, { code: null, n: 2 }]);
  }));

Deno.test("readTable() and writeTable() say in one sentence what is wrong, and write nothing", () =>
  inFolder(async (folder) => {
    const odd = join(folder, "rows.xlsx");
    await assert.rejects(readTable(odd), /^Error: .*rows\.xlsx does not end in \.csv, \.tsv, \.parquet; rename it/);
    await assert.rejects(writeTable(odd, pl.DataFrame(rows)), /^Error: .*rows\.xlsx does not end in \.csv/);
    await assert.rejects(readTable(join(folder, "no.csv")), /^Error: there is no file .*no\.csv; check the name/);

    const broken = join(folder, "broken.parquet");
    await Deno.writeTextFile(broken, "this is no Parquet file");
    await assert.rejects(readTable(broken), /^Error: .*broken\.parquet cannot be read as Parquet: .*; check the file/);
    const ragged = join(folder, "ragged.csv");
    await Deno.writeTextFile(ragged, "a,b\n1,2\n1,2,3,4\n");
    await assert.rejects(readTable(ragged), /^Error: .*ragged\.csv cannot be read as CSV: .*; check the file/);

    await Deno.mkdir(join(folder, "taken.csv"));
    for (const target of [join(folder, "taken.csv"), join(folder, "missing", "a.parquet")]) {
      await assert.rejects(writeTable(target, pl.DataFrame(rows)), /^Error: cannot write .*; (choose another|make it)/);
    }
    const left = [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
    assert.deepEqual(left, ["broken.parquet", "ragged.csv", "taken.csv"]);
  }));
