/** A folder of made-up experiments, and the project's commands on it. */
import { root } from "../../lib/notebook/setup.ts";

/** What a command came to. */
export interface Outcome {
  code: number;
  out: string;
  err: string;
}

/** Experiments in a temporary folder, which `using` removes. */
export class Laboratory {
  readonly folder: string = Deno.makeTempDirSync({ prefix: "tessera-lab-" });

  /** Writes `NAME/experiment.ts`; `options` are the inside of defineExperiment's braces. */
  declare(name: string, options: string): void {
    Deno.mkdirSync(`${this.folder}/${name}`, { recursive: true });
    Deno.writeTextFileSync(
      `${this.folder}/${name}/experiment.ts`,
      `import { defineExperiment } from "file://${root}/lib/experiment/mod.ts";
export default defineExperiment({ name: "${name}", version: 1, question: "Does it run?", ${options} });
`,
    );
  }

  /** Starts a command of lib/experiment. */
  start(command: "command" | "reproduce", args: string[], env: Record<string, string> = {}): Deno.ChildProcess {
    return new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", `${root}/lib/experiment/${command}.ts`, ...args],
      env: { NO_COLOR: "1", TESSERA_BACKEND: "cpu", TESSERA_EXPERIMENTS: this.folder, ...env },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  /** Runs a command to its end. */
  async run(command: "command" | "reproduce", args: string[], env?: Record<string, string>): Promise<Outcome> {
    const { code, stdout, stderr } = await this.start(command, args, env).output();
    const text = new TextDecoder();
    return { code, out: text.decode(stdout), err: text.decode(stderr) };
  }

  /** Files of rows that are whole. */
  rows(name: string): string[] {
    return [...Deno.readDirSync(`${this.folder}/${name}/rows`)].map(({ name }) => name)
      .filter((file) => /^[0-9a-f]+\.json$/.test(file));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.folder, { recursive: true });
  }
}
