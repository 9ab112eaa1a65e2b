/**
 * Parameters of notebooks: the variables of the cell tagged `parameters`, and the cell that gives them other values for one
 * run. The tags are those of papermill.
 *
 * @module
 */
import ts from "typescript";
import { declaredNames, topVariables } from "./cells.ts";
import { type Cell, type Json, type Notebook, sourceOf } from "./notebook.ts";

/** Marks the cell with the parameters and their usual values. */
export const PARAMETERS = "parameters";
/** Marks the cell that a run put after it. */
export const INJECTED = "injected-parameters";

/**
 * Takes `name=value` apart. The value is JSON, or else a text.
 *
 * @throws RangeError where there is no name.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.deepEqual(parseSetting("keepRates=[0.5, 1]"), { name: "keepRates", value: [0.5, 1], text: "[0.5, 1]" });
 * assert.deepEqual(parseSetting("method=tome"), { name: "method", value: "tome", text: "tome" });
 * ```
 */
export function parseSetting(setting: string): { name: string; value: Json; text: string } {
  const [, name, text] = /^\s*([\p{ID_Start}$_][\p{ID_Continue}$]*)\s*=([\s\S]*)$/u.exec(setting) ?? [];
  if (!name) throw new RangeError(`--set takes name=value, but got ${setting || "nothing"}; as in --set r=8`);
  try {
    return { name, value: JSON.parse(text), text };
  } catch {
    return { name, value: text, text };
  }
}

/**
 * Puts a cell after the parameters that gives them these values, in place of one that an earlier run left. Without settings
 * such a cell is only removed.
 *
 * @param name What the notebook is called in errors.
 * @throws RangeError in one sentence: the notebook has no cell tagged `parameters`, does not declare one of the names, or
 *   its usual value is of another kind.
 */
export function setParameters(notebook: Notebook, settings: string[], name: string): void {
  notebook.cells = notebook.cells.filter(({ metadata }) => !metadata.tags?.includes(INJECTED));
  if (settings.length === 0) return;
  const index = notebook.cells.findIndex((cell) => cell.metadata.tags?.includes(PARAMETERS));
  if (index < 0) {
    throw new RangeError(
      `${name} has no cell tagged ${PARAMETERS}; tag the one that declares what --set should change`,
    );
  }
  const source = sourceOf(notebook.cells[index]);
  const declared = declaredNames(source);
  const lines = settings.map((setting) => {
    const { name: parameter, value, text } = parseSetting(setting);
    if (!declared.includes(parameter)) {
      throw new RangeError(`${name} has no parameter ${parameter}; it has ${declared.join(", ") || "none"}`);
    }
    const variable = topVariables(source).find(({ name }) => name === parameter);
    const usual = kindOf(variable?.initializer);
    const written = usual === "a text" ? (typeof value === "string" ? value : text) : value;
    if (usual && kindOfValue(written) !== usual) {
      throw new RangeError(
        `${parameter} is ${usual} in ${name} (${variable?.initializer?.getText()}), but --set ${setting} gives ` +
          `${kindOfValue(written)}; give ${usual}`,
      );
    }
    // the kernel takes a second const, but not a second let
    return `${variable?.isConst === false ? "" : "const "}${parameter} = ${JSON.stringify(written)};`;
  });
  const cell: Cell = {
    cell_type: "code",
    id: INJECTED,
    metadata: { tags: [INJECTED] },
    source: `// set for this run\n${lines.join("\n")}`,
    execution_count: null,
    outputs: [],
  };
  notebook.cells.splice(index + 1, 0, cell);
}

/** The kind of a value that stands there as a literal; undefined for what is computed. */
function kindOf(value: ts.Expression | undefined): string | undefined {
  if (!value) return undefined;
  if (ts.isStringLiteralLike(value)) return "a text";
  const number = ts.isPrefixUnaryExpression(value) ? value.operand : value;
  if (ts.isNumericLiteral(number)) return "a number";
  if (value.kind === ts.SyntaxKind.TrueKeyword || value.kind === ts.SyntaxKind.FalseKeyword) return "true or false";
  if (ts.isArrayLiteralExpression(value)) return "a list";
  return ts.isObjectLiteralExpression(value) ? "an object" : undefined;
}

function kindOfValue(value: Json): string {
  if (value === null) return "nothing";
  if (Array.isArray(value)) return "a list";
  const kinds: Record<string, string> = { string: "a text", number: "a number", boolean: "true or false" };
  return kinds[typeof value] ?? "an object";
}
