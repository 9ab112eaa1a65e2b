/**
 * Both kernels under nbclient, the client of `jupyter execute` and nbconvert, and the folder of kernelspecs by which it finds
 * them.
 *
 * @module
 */
import type { Defect, Outcome, Shown } from "../../experiments/kernel/defects.ts";
import { kernelspec } from "../../lib/notebook/kernelspec.ts";
import { root, venvProgram } from "../../lib/notebook/paths.ts";

/** The names of the kernelspecs. */
export const KERNELS = ["stock", "ours"] as const;
/** A name of a kernelspec. */
export type KernelName = typeof KERNELS[number];

/** What stock Deno installs for itself by `deno jupyter --install`, without colours. */
export function stockKernelspec(): Record<string, unknown> {
  return {
    argv: [Deno.execPath(), "jupyter", "--kernel", "--conn", "{connection_file}"],
    display_name: "Deno",
    language: "typescript",
    interrupt_mode: "message",
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  };
}

/** Makes a folder for JUPYTER_PATH that has both kernels. */
export function makeKernelspecs(): { folder: string; [Symbol.dispose](): void } {
  const folder = Deno.makeTempDirSync({ prefix: "tessera-kernels-" });
  for (const [name, spec] of Object.entries({ stock: stockKernelspec(), ours: kernelspec() })) {
    Deno.mkdirSync(`${folder}/kernels/${name}`, { recursive: true });
    Deno.writeTextFileSync(`${folder}/kernels/${name}/kernel.json`, JSON.stringify(spec));
  }
  return { folder, [Symbol.dispose]: () => Deno.removeSync(folder, { recursive: true }) };
}

const RUN = `
import json, os, signal, sys, nbformat
from nbclient import NotebookClient

class TooLong(BaseException):
    pass

def too_long(*_):
    raise TooLong()

signal.signal(signal.SIGALRM, too_long)
for task in json.load(sys.stdin):
    cells = [nbformat.v4.new_code_cell(source) for source in task["cells"]]
    nb = nbformat.v4.new_notebook(cells=cells)
    raised = ""
    client = NotebookClient(nb, kernel_name=task["kernel"], timeout=task["limit"], interrupt_on_timeout=True,
                            allow_errors=task["stop"], resources={"metadata": {"path": task["folder"]}})
    signal.alarm(task["limit"] + 15)
    try:
        client.execute()
    except (Exception, TooLong) as error:
        raised = type(error).__name__
        if isinstance(error, TooLong):
            os.kill(client.km.provisioner.pid, signal.SIGKILL)
    signal.alarm(0)
    print(json.dumps({"outputs": [cell.outputs for cell in nb.cells], "raised": raised}), flush=True)
`;

/** Runs the cells of defects, each in a fresh kernel. */
export async function underNbclient(kernel: KernelName, defects: Defect[], kernelspecs: string): Promise<Outcome[]> {
  const folder = `${root}/notebooks`;
  const tasks = defects.map(({ cells, stop = false }) => ({ cells, kernel, stop, limit: stop ? 2 : 10, folder }));
  const python = new Deno.Command(venvProgram("python"), {
    args: ["-c", RUN],
    env: { JUPYTER_PATH: kernelspecs },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const input = python.stdin.getWriter();
  await input.write(new TextEncoder().encode(JSON.stringify(tasks)));
  await input.close();
  const text = await new Response(python.stdout).text();
  return text.trim().split("\n").map((line, k) => {
    const { outputs, raised } = JSON.parse(line) as { outputs: Shown[][]; raised: string };
    const answered = outputs.slice(1).some((cell) => cell.length > 0);
    const hangs = raised === "TooLong" || raised === "CellTimeoutError" ||
      (defects[k].stop === true && !answered && !outputs[0].length);
    return { outputs, failed: raised === "CellExecutionError", hangs };
  });
}
