import assert from "node:assert/strict";
import type { Message } from "../../lib/notebook/message.ts";
import { notebookText, OutputCollector, parseNotebook, readNotebook, splitLines } from "../../lib/notebook/notebook.ts";

const message = (msg_type: string, content: Record<string, unknown>): Message => ({
  header: { msg_id: "", msg_type },
  parent_header: {},
  metadata: {},
  content,
});

Deno.test("a notebook is written as Jupyter writes it: keys sorted, one space, lines split, a newline at the end", () => {
  const notebook = parseNotebook(
    `{"nbformat_minor":5,"nbformat":4,"metadata":{},"cells":[{"source":"a\\nb","metadata":{},"id":"x","cell_type":"markdown"}]}`,
    "n",
  );
  assert.equal(
    notebookText(notebook),
    `{
 "cells": [
  {
   "cell_type": "markdown",
   "id": "x",
   "metadata": {},
   "source": [
    "a\\n",
    "b"
   ]
  }
 ],
 "metadata": {},
 "nbformat": 4,
 "nbformat_minor": 5
}
`,
  );
});

Deno.test("writing and reading a notebook changes nothing", () => {
  const text = notebookText(
    parseNotebook(`{"cells":[{"cell_type":"raw","source":["é \\u2028"]}],"nbformat":4,"nbformat_minor":5}`, "n"),
  );
  assert.equal(notebookText(parseNotebook(text, "n")), text);
});

Deno.test("a file that is no notebook gives one sentence", () => {
  assert.throws(() => readNotebook("/nowhere/x.ipynb"), /^Error: \/nowhere\/x\.ipynb does not exist; give the path/);
  assert.throws(() => parseNotebook(`{"cells": [`, "cut.ipynb"), /^Error: cut\.ipynb is not JSON .*saved to its end/);
  assert.throws(() => parseNotebook("", "empty.ipynb"), /not JSON/);
  assert.throws(() => parseNotebook("null", "n.ipynb"), /not a notebook/);
  assert.throws(() => parseNotebook("[]", "n.ipynb"), /not a notebook/);
  assert.throws(
    () => parseNotebook(`{"nbformat":3,"nbformat_minor":0,"cells":[]}`, "old.ipynb"),
    /old\.ipynb has notebook format 3\.0/,
  );
  assert.throws(
    () => parseNotebook(`{"nbformat":4,"nbformat_minor":4,"cells":[]}`, "old.ipynb"),
    /format 4\.4, but 4\.5/,
  );
  assert.throws(
    () => parseNotebook(`{"nbformat":4,"nbformat_minor":5,"cells":[{"cell_type":"code"}]}`, "n.ipynb"),
    /cell 1 of n\.ipynb has no source/,
  );
});

Deno.test("splitLines() keeps line ends, and splits where Python does", () => {
  assert.deepEqual(splitLines("a\nb\n"), ["a\n", "b\n"]);
  assert.deepEqual(splitLines("a\r\nb\rc"), ["a\r\n", "b\r", "c"]);
  assert.deepEqual(splitLines("a\n\nb"), ["a\n", "\n", "b"]);
  assert.deepEqual(splitLines(""), []);
});

Deno.test("prints are joined, displays keep JSON as objects, and updates reach the display they name", () => {
  const outputs = new OutputCollector().collect([
    message("stream", { name: "stdout", text: "a\n" }),
    message("stream", { name: "stdout", text: "b" }),
    message("stream", { name: "stderr", text: "!" }),
    message("display_data", { data: { "text/plain": "0/2" }, transient: { display_id: "bar" } }),
    message("update_display_data", { data: { "text/plain": "2/2" }, transient: { display_id: "bar" } }),
    message("execute_result", {
      data: { "application/vnd.plotly.v1+json": { data: [1] }, "image/svg+xml": "<svg>\n</svg>" },
    }),
  ], 7);
  assert.deepEqual(outputs, [
    { output_type: "stream", name: "stdout", text: ["a\n", "b"] },
    { output_type: "stream", name: "stderr", text: ["!"] },
    { output_type: "display_data", data: { "text/plain": ["2/2"] }, metadata: {} },
    {
      output_type: "execute_result",
      data: { "application/vnd.plotly.v1+json": { data: [1] }, "image/svg+xml": ["<svg>\n", "</svg>"] },
      metadata: {},
      execution_count: 7,
    },
  ]);
});

Deno.test("clear_output empties a cell, at once or before the next output", () => {
  const print = (text: string) => message("stream", { name: "stdout", text });
  const collect = (messages: Message[]) => new OutputCollector().collect(messages, 1).length;
  assert.equal(collect([print("a"), message("clear_output", { wait: false })]), 0);
  assert.equal(collect([print("a"), message("clear_output", { wait: true })]), 1);
  const [output] = new OutputCollector().collect([print("a"), message("clear_output", { wait: true }), print("b")], 1);
  assert.deepEqual(output, { output_type: "stream", name: "stdout", text: ["b"] });
});
