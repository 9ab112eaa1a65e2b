/**
 * JupyterLab in a headless Chromium, for tests: the server and the settings that readers get, but with folders of its own,
 * so that it neither sees nor changes what the user has.
 *
 * @module
 */
import { randomBytes } from "node:crypto";
import { type Browser, chromium, type Locator, type Page } from "playwright-core";
import type { Shown } from "../../experiments/kernel/defects.ts";
import { writeJupyterFiles } from "../../lib/notebook/kernelspec.ts";
import { exists, root, venvProgram } from "../../lib/notebook/paths.ts";

const CHROMIUM_PATHS = [
  Deno.env.get("CHROME_PATH"),
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];
/** What a headless Chromium needs to be quiet, and to run as root. */
export const CHROMIUM_FLAGS = [
  "--no-sandbox", // its own sandbox refuses to run as root
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 10_000;
const ACTION_LIMIT_MS = 15_000;
const LOCAL = /^(https?|wss?):\/\/(127\.0\.0\.1|localhost)[:/]|^(data|blob|about):/;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** What the browser test needs and this machine has not, in a sentence; undefined where everything is there. */
export function missingForBrowserTests(): string | undefined {
  if (!exists(venvProgram("jupyter-lab"))) return "JupyterLab is not set up (deno task start does it)";
  if (!findChromium()) return "there is no Chromium; install it, or say with CHROME_PATH where it is";
}

/** Where Chromium is. */
export function findChromium(): string | undefined {
  return CHROMIUM_PATHS.find((path) => path && exists(path));
}

interface Server {
  process: Deno.ChildProcess;
  /** The end of what it wrote. */
  wrote: string;
  ended: boolean;
}

/** Looks of JupyterLab. */
export interface LabOptions {
  theme?: "JupyterLab Light" | "JupyterLab Dark";
  width?: number;
  height?: number;
  /** Other kernels than the project's: a folder for JUPYTER_PATH, and their names. */
  kernels?: { folder: string; names: readonly string[] };
}

/** One cell as JupyterLab knows it, on the screen or not. */
export interface CellState {
  type: "code" | "markdown" | "raw";
  /** Its number; null while it has not run, or is still running. */
  executionCount: number | null;
  /** It runs, or waits for its turn: [*] stands beside it. */
  running: boolean;
  /** Whether its outputs may run scripts. */
  trusted: boolean;
  outputs: Shown[];
}

/** A running JupyterLab with its browser. */
export class Lab {
  #server: Server;
  #folder: string;
  #browser: Browser;
  #address: string;
  #token: string;
  #size: { width: number; height: number };
  /** Addresses outside this machine that any page asked for. */
  readonly asked: string[] = [];

  private constructor(
    process: { server: Server; folder: string; browser: Browser },
    { address, token }: { address: string; token: string },
    size: { width: number; height: number },
  ) {
    this.#server = process.server;
    this.#folder = process.folder;
    this.#browser = process.browser;
    this.#address = address;
    this.#token = token;
    this.#size = size;
  }

  /** Starts the server, and the browser while that gets ready. */
  static async start(options: LabOptions = {}): Promise<Lab> {
    const { theme = "JupyterLab Light", width = 1280, height = 900, kernels } = options;
    writeJupyterFiles();
    const folder = Deno.makeTempDirSync({ prefix: "tessera-browser-" });
    const settings = `${folder}/settings/@jupyterlab/apputils-extension`;
    Deno.mkdirSync(settings, { recursive: true });
    Deno.writeTextFileSync(`${settings}/themes.jupyterlab-settings`, JSON.stringify({ theme }));

    const token = randomBytes(24).toString("hex");
    const port = freePort();
    const server = startServer(folder, port, token, kernels);
    let browser: Browser | undefined;
    try {
      browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS }); // with a fresh profile
      await whenListening(port, server);
      return new Lab({ server, folder, browser }, { address: `http://127.0.0.1:${port}`, token }, { width, height });
    } catch (error) {
      await browser?.close();
      await endServer(server);
      Deno.removeSync(folder, { recursive: true });
      throw error;
    }
  }

  /**
   * Opens a notebook in a new page and waits until its kernel is idle.
   *
   * @param path From the project's root.
   */
  async open(path: string): Promise<NotebookPage> {
    const page = await this.#browser.newPage({ viewport: this.#size });
    page.setDefaultTimeout(ACTION_LIMIT_MS);
    const note = (url: string) => {
      if (!LOCAL.test(url)) this.asked.push(url);
    };
    page.on("request", (request) => note(request.url()));
    page.on("websocket", (socket) => note(socket.url()));
    // a workspace of its own for each page, or they would ask one another for it
    const workspace = `lab/workspaces/page-${randomBytes(4).toString("hex")}`;
    await page.goto(`${this.#address}/${workspace}/tree/${path}?token=${this.#token}`);
    const notebook = new NotebookPage(page);
    try {
      await notebook.whenIdle();
    } catch {
      await page.reload(); // a kernel's start was seen to hang, and a reload to cure it
      await notebook.whenIdle();
    }
    return notebook;
  }

  /** Ends browser, server and kernels, and removes what they wrote. */
  async close(): Promise<void> {
    try {
      await this.#browser.close();
    } finally {
      await endServer(this.#server);
      Deno.removeSync(this.#folder, { recursive: true });
    }
  }
}

/** A page with one notebook. */
export class NotebookPage {
  readonly page: Page;

  constructor(page: Page) {
    this.page = page;
  }

  /** The notebook's state, from JupyterLab itself: cells that are not on the screen are not on the page either. */
  async cells(): Promise<CellState[]> {
    return await this.page.evaluate<CellState[]>(`jupyterapp.shell.currentWidget.content.widgets.map(({ model }) => ({
      type: model.type,
      executionCount: model.executionCount ?? null,
      running: model.executionState === "running",
      trusted: model.trusted,
      outputs: model.outputs?.toJSON() ?? [],
    }))`);
  }

  /** Waits until the kernel has started and has nothing to do. */
  async whenIdle(): Promise<void> {
    // not by the round sign in the tool bar, which says "idle" also before there is a kernel
    await this.page.waitForFunction(
      `globalThis.jupyterapp?.shell.currentWidget?.sessionContext?.kernelDisplayStatus === "idle"`,
      undefined,
      { timeout: START_LIMIT_MS },
    );
  }

  /** Runs all cells by the menu; once more where JupyterLab lost that, as it does now and then right after a start. */
  async startAllCells(): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      await this.page.getByRole("menuitem", { name: "Run", exact: true }).click();
      await this.page.getByRole("menuitem", { name: "Run All Cells", exact: true }).click();
      for (let waited = 0; waited < 3000; waited += 100) {
        const cells = await this.cells();
        if (cells.some(({ running, executionCount }) => running || executionCount !== null)) return;
        await pause(100);
      }
    }
    throw new Error("Run All Cells was chosen three times, but no cell ran");
  }

  /** Waits until no code cell is left to run, or one has failed. */
  async whenAllHaveRun(limitMs: number): Promise<CellState[]> {
    for (const until = performance.now() + limitMs; performance.now() < until; await pause(250)) {
      const cells = await this.cells();
      const left = cells.filter(({ type, running, executionCount }) =>
        type === "code" && (running || executionCount === null)
      );
      const failed = cells.some(({ outputs }) => outputs.some(({ output_type }) => output_type === "error"));
      if (left.length === 0 || failed) return await this.#whenSettled();
    }
    throw new Error(`cells were still running after ${limitMs / 1000} s`);
  }

  /** The cells when the kernel is idle and nothing has changed for a moment: a cell has run before its outputs are here. */
  async #whenSettled(): Promise<CellState[]> {
    await this.whenIdle();
    let cells = await this.cells();
    for (let attempt = 0; attempt < 20; attempt++) {
      await pause(150);
      const again = await this.cells();
      if (JSON.stringify(again) === JSON.stringify(cells)) return again;
      cells = again;
    }
    throw new Error("the outputs still changed 3 s after the kernel was idle");
  }

  /** Runs one cell, as Shift+Enter does. */
  async runCell(index: number, limitMs: number): Promise<"ran" | "failed" | "hangs"> {
    return await this.page.evaluate<"ran" | "failed" | "hangs">(`(async () => {
      const { content } = jupyterapp.shell.currentWidget;
      content.deselectAll();
      content.activeCellIndex = ${index};
      const running = jupyterapp.commands.execute("notebook:run-cell");
      const ran = await Promise.race([running, new Promise((f) => setTimeout(() => f("hangs"), ${limitMs}))]);
      return ran === "hangs" ? ran : ran === false ? "failed" : "ran";
    })()`);
  }

  /** Presses Stop. */
  async interrupt(): Promise<void> {
    await this.page.evaluate(`jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()`);
  }

  /** Restarts the kernel, busy or not. */
  async restart(): Promise<void> {
    await this.page.evaluate(`jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()`);
    await this.whenIdle();
  }

  /** Brings a cell onto the screen and gives its element. */
  async show(index: number): Promise<Locator> {
    await this.page.evaluate(`jupyterapp.shell.currentWidget.content.scrollToItem(${index}, "start")`);
    const cell = this.page.locator(`.jp-Notebook .jp-Cell[data-windowed-list-index="${index}"]`);
    await cell.waitFor();
    return cell;
  }

  /** Saves a picture of the page into the folder that TESSERA_SCREENSHOTS names, if it does. */
  async screenshot(name: string): Promise<void> {
    const folder = Deno.env.get("TESSERA_SCREENSHOTS");
    if (folder) await this.page.screenshot({ path: `${folder}/${name}.png` });
  }
}

function startServer(folder: string, port: number, token: string, kernels: LabOptions["kernels"]): Server {
  const own = (name: string) => `${folder}/${name}`;
  const process = new Deno.Command(venvProgram("jupyter-lab"), {
    args: [
      "--no-browser",
      "-y", // Ctrl-C ends it without a question
      `--port=${port}`,
      "--ServerApp.port_retries=0",
      "--LabApp.expose_app_in_browser=True",
      "--ContentsManager.allow_hidden=True", // names with a dot at their start
      `--FileCheckpoints.checkpoint_dir=${own("checkpoints")}`,
      ...(kernels?.names ?? []).map((name) => `--KernelSpecManager.allowed_kernelspecs=${name}`),
      ...(Deno.uid() === 0 ? ["--allow-root"] : []),
    ],
    cwd: root,
    env: {
      JUPYTER_TOKEN: token,
      ...(kernels ? { JUPYTER_PATH: kernels.folder } : {}),
      JUPYTER_CONFIG_DIR: own("config"),
      JUPYTER_DATA_DIR: own("data"), // also the signatures of trusted notebooks
      JUPYTER_RUNTIME_DIR: own("runtime"),
      JUPYTERLAB_SETTINGS_DIR: own("settings"),
      JUPYTERLAB_WORKSPACES_DIR: own("workspaces"),
    },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  const server: Server = { process, wrote: "", ended: false };
  const reading = (async () => {
    for await (const text of process.stderr.pipeThrough(new TextDecoderStream())) {
      server.wrote = (server.wrote + text).slice(-4000);
    }
  })();
  reading.catch(() => {}); // only for messages
  process.status.then(() => server.ended = true);
  return server;
}

async function whenListening(port: number, server: Server): Promise<void> {
  for (const until = performance.now() + START_LIMIT_MS; performance.now() < until; await pause(50)) {
    if (server.ended) break;
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      // not yet
    }
  }
  throw new Error(`JupyterLab did not start within ${START_LIMIT_MS / 1000} s; it wrote: ${server.wrote.trim()}`);
}

/** Asks the server to end its kernels and itself; its kernels also notice when it is killed. */
async function endServer({ process, ended }: Server): Promise<void> {
  if (ended) return;
  process.kill("SIGTERM");
  const impatience = setTimeout(() => process.kill("SIGKILL"), STOP_LIMIT_MS);
  await process.status;
  clearTimeout(impatience);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
