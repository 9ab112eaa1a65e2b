import assert from "node:assert/strict";
import { dataFolder } from "../../lib/data/mod.ts";

interface Folder {
  name: string;
  files: { name: string; bytes: number }[];
}

function filesBelow(folder: URL, prefix = ""): { name: string; bytes: number }[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) =>
    entry.isDirectory
      ? filesBelow(new URL(`${entry.name}/`, folder), `${prefix}${entry.name}/`)
      : { name: `${prefix}${entry.name}`, bytes: Deno.statSync(new URL(entry.name, folder)).size }
  );
}

const folders: Folder[] = [...Deno.readDirSync(dataFolder)]
  .filter((entry) => entry.isDirectory)
  .map((entry) => ({ name: entry.name, files: filesBelow(new URL(`${entry.name}/`, dataFolder)) }))
  .sort((a, b) => a.name < b.name ? -1 : 1);

/** The rows of the table in data/README.md: folder, what, files, MB, licence, source. */
const rows = Deno.readTextFileSync(new URL("README.md", dataFolder))
  .split("\n")
  .filter((line) => line.startsWith("| ["))
  .map((line) => line.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim())); // \| is no border

Deno.test("every data folder says in SOURCE.md where it comes from and under which licence", () => {
  assert.ok(folders.length >= 4);
  for (const { name } of folders) {
    const text = Deno.readTextFileSync(new URL(`${name}/SOURCE.md`, dataFolder));
    assert.match(text, /licen[cs]e|free to use/i, `data/${name}/SOURCE.md names no licence`);
    assert.match(text, /\d{4}-\d{2}-\d{2}/, `data/${name}/SOURCE.md has no date`);
  }
});

Deno.test("data/README.md has one row per folder, in alphabetical order, with its true number of files and size", () => {
  const expected = folders.map(({ name, files }) => {
    const data = files.filter((file) => file.name !== "SOURCE.md");
    const megabytes = data.reduce((sum, file) => sum + file.bytes, 0) / 1e6;
    return [`[${name}](${name}/SOURCE.md)`, String(data.length), megabytes.toFixed(1)];
  });
  assert.deepEqual(rows.map(([folder, _what, files, megabytes]) => [folder, files, megabytes]), expected);
  for (const row of rows) {
    assert.equal(row.length, 6, `row ${row[0]} has ${row.length} cells`);
    assert.ok(row.every((cell) => cell.length > 0), `row ${row[0]} has an empty cell`);
  }
});

Deno.test("every data file is below 5 MB", () => {
  for (const { name, files } of folders) {
    for (const file of files) assert.ok(file.bytes < 5e6, `data/${name}/${file.name} has ${file.bytes} bytes`);
  }
});
