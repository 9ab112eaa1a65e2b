import assert from "node:assert/strict";
import { help } from "../lib/help.ts";
import { reducers } from "../lib/reduction/mod.ts";
import { mulberry32 } from "../lib/random.ts";

Deno.test("help() shows signature, doc comment, example and place, by name and by the function itself", async () => {
  const { text } = await help("bipartiteSoftMatching");
  assert.match(text, /^```ts\nfunction bipartiteSoftMatching\(/);
  assert.match(text, /- `metric`:/);
  assert.match(text, /\*\*Example\.\*\*/);
  assert.match(text, /\*lib\/reduction\/tome\.ts:\d+\*$/);
  assert.doesNotMatch(text, /^@|\*\//m);
  assert.equal((await help(mulberry32)).text, (await help("mulberry32()")).text);
  assert.match((await help(reducers.tome)).text, /lib\/reduction\//);
});

Deno.test("help() shows itself as Markdown in a notebook", async () => {
  const shown = await help("mulberry32") as unknown as Record<symbol, () => Record<string, string>>;
  assert.match(shown[Symbol.for("Jupyter.display")]()["text/markdown"], /mulberry32/);
});

Deno.test("help() for what is not there names what resembles it", async () => {
  assert.match((await help("mulberry")).text, /^lib has nothing named mulberry; it has .*mulberry32/);
  assert.equal((await help(() => 1)).text, "lib has nothing named (no name)");
});
