/**
 * Running other programs during set-up, and saying in one sentence why one failed.
 *
 * @module
 */
import { root } from "./paths.ts";

/** A reason why set-up cannot go on, in one sentence that says what to do. */
export class SetUpError extends Error {
  override name = "SetUpError";
}

const NO_NETWORK = new RegExp(
  [
    "error sending request",
    "tcp connect error",
    "failed to fetch",
    "failed to lookup address",
    "dns error",
    "name resolution",
    "NewConnectionError",
    "Max retries exceeded",
    "Network is unreachable",
    "Connection refused",
    "Connection reset",
    "Connection timed out",
    "operation timed out",
    "ConnectTimeoutError",
  ].join("|"),
  "i",
);

/**
 * Runs a program in the project's root and returns what it printed.
 *
 * @param label What is being done, for the error.
 * @param variables More environment variables.
 * @throws SetUpError in one sentence when it fails; for a failure of unknown kind with the end of its output.
 */
export async function runProgram(
  label: string,
  program: string,
  args: string[],
  variables: Record<string, string> = {},
): Promise<string> {
  const command = new Deno.Command(program, { args, cwd: root, env: variables, stdin: "null" });
  let output: Deno.CommandOutput;
  try {
    output = await command.output();
  } catch (error) {
    throw new SetUpError(`${label} failed: ${program} cannot be started (${(error as Error).message}).`);
  }
  const decoder = new TextDecoder();
  const text = decoder.decode(output.stdout) + decoder.decode(output.stderr);
  if (!output.success) throw new SetUpError(reasonFor(label, output.code, text));
  return text;
}

/**
 * Why a program failed, from what it printed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * assert.match(reasonFor("JupyterLab", 2, "dns error: name not known"), /package registry cannot be reached/);
 * ```
 */
export function reasonFor(label: string, code: number, printed: string): string {
  if (/No space left on device|os error 28|ENOSPC/.test(printed)) {
    return `${label} failed because the disk is full; free some space and run the same command again, it goes on from here.`;
  }
  if (NO_NETWORK.test(printed)) {
    return `${label} failed because the package registry cannot be reached; check the network (or the proxy or mirror) and ` +
      "run the same command again, it goes on from here.";
  }
  const end = printed.trim().split("\n").slice(-8).join("\n");
  return `${label} failed (exit ${code}); run the same command again, and if that fails too, here is what it said:\n${end}`;
}
