/** A Slurm of several nodes on this machine, in a folder of its own, for as long as a test needs it. */
import { hostname } from "node:os";

const PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "sinfo"];
const CONTROL_PORT = 26817;

/** See {@link PrivateSlurm.start}. */
export class PrivateSlurm {
  readonly #folder: string;
  readonly #processes = new Map<string, Deno.ChildProcess>();

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /** The first program that is not installed, or "root" where we are not root; undefined where all is there. */
  static missing(): string | undefined {
    if (Deno.uid() !== 0) return "root";
    return PROGRAMS.find((name) =>
      !["/usr/bin", "/usr/sbin"].some((folder) => {
        try {
          return Deno.statSync(`${folder}/${name}`).isFile;
        } catch {
          return false;
        }
      })
    );
  }

  /** Starts a controller and nodes n1, n2, ... with two processors each, and waits until all are idle. */
  static async start(nodes: number): Promise<PrivateSlurm> {
    const folder = await Deno.makeTempDir({ prefix: "tessera-slurm-" });
    const slurm = new PrivateSlurm(folder);
    try {
      await slurm.#begin(nodes);
      return slurm;
    } catch (error) {
      await slurm[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What commands need to find this cluster. */
  get env(): Record<string, string> {
    return { SLURM_CONF: `${this.#folder}/slurm.conf`, PATH: `${Deno.env.get("PATH")}:/usr/sbin` };
  }

  async #begin(nodes: number): Promise<void> {
    for (const name of ["state", "log", "munge"]) await Deno.mkdir(`${this.#folder}/${name}`);
    await Deno.chmod(this.#folder, 0o755);
    await Deno.chmod(`${this.#folder}/munge`, 0o700);
    const key = new TextEncoder().encode(crypto.randomUUID().repeat(4)); // it guards nothing but this test
    await Deno.writeFile(`${this.#folder}/munge/key`, key, { mode: 0o400 });
    const host = hostname().split(".")[0];
    const names = Array.from({ length: nodes }, (_, i) => `n${i + 1}`);
    await Deno.writeTextFile(
      `${this.#folder}/slurm.conf`,
      [
        "ClusterName=lab",
        `SlurmctldHost=${host}(127.0.0.1)`,
        `SlurmctldPort=${CONTROL_PORT}`,
        "SlurmUser=root",
        "SlurmdUser=root",
        "AuthType=auth/munge",
        "CryptoType=crypto/munge",
        `AuthInfo=socket=${this.#folder}/munge/socket`,
        `StateSaveLocation=${this.#folder}/state`,
        `SlurmdSpoolDir=${this.#folder}/spool-%n`,
        `SlurmctldPidFile=${this.#folder}/slurmctld.pid`,
        `SlurmdPidFile=${this.#folder}/slurmd.%n.pid`,
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "JobAcctGatherType=jobacct_gather/none",
        "AccountingStorageType=accounting_storage/none",
        "MpiDefault=none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1",
        "ReturnToService=2",
        "SlurmdTimeout=10",
        "JobRequeue=1",
        "KillWait=5",
        "PropagateResourceLimits=NONE",
        ...names.map((name, i) =>
          `NodeName=${name} NodeHostname=${host} NodeAddr=127.0.0.1 Port=${CONTROL_PORT + 4 + i} CPUs=2 RealMemory=2000`
        ),
        "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        "",
      ].join("\n"),
    );
    const munge = `${this.#folder}/munge`;
    // --force: the folder may lie below one that others may write to
    this.#spawn("munged", [
      "--foreground",
      "--force",
      `--key-file=${munge}/key`,
      `--socket=${munge}/socket`,
      `--pid-file=${munge}/pid`,
      `--log-file=${this.#folder}/log/munged.log`,
      `--seed-file=${munge}/seed`,
    ]);
    await this.#until("munged answers", async () => await Deno.stat(`${munge}/socket`).then(() => true, () => false));
    this.#spawn("slurmctld", ["-D", "-c", "-f", this.env.SLURM_CONF]);
    for (const name of names) {
      await Deno.mkdir(`${this.#folder}/spool-${name}`);
      this.#spawn("slurmd", ["-D", "-N", name, "-f", this.env.SLURM_CONF], name);
    }
    await this.#until("all nodes are idle", async () => {
      const states = (await this.#ask("sinfo", ["-h", "-N", "-o", "%t"])).trim().split("\n");
      return states.length === nodes && states.every((state) => state === "idle");
    });
  }

  /** Waits until a node computes something. */
  async untilRunning(node: string): Promise<void> {
    await this.#until(
      `${node} runs a task`,
      async () => (await this.#ask("squeue", ["-h", "-r", "-t", "R", "-w", node, "-o", "%K"])).trim() !== "",
    );
    await new Promise((go) => setTimeout(go, 2500)); // in the middle of its rows
  }

  /**
   * Kills a node: its daemon, then who watches its tasks, then the tasks, so that nobody is left to report their end, as
   * where a machine loses its power. Then says to the controller what it would find out itself in a while.
   */
  async kill(node: string): Promise<void> {
    this.#processes.get(node)!.kill("SIGKILL");
    const tasks = processes().filter(({ environment }) =>
      environment.includes(`SLURMD_NODENAME=${node}`) && environment.includes("SLURM_JOB_PARTITION=main")
    );
    const watchers = new Set(tasks.map(({ parent }) => parent).filter((id) => nameOf(id).startsWith("slurmstepd")));
    for (const id of [...watchers, ...tasks.map((task) => task.id)]) {
      try {
        Deno.kill(id, "SIGKILL");
      } catch {
        // it has ended
      }
    }
    await this.#ask("scontrol", ["update", `nodename=${node}`, "state=down", "reason=killed"]);
  }

  /** Waits until no task waits, runs or ends. Tasks of a dead node are held for two minutes; they are let go at once. */
  async untilDone(): Promise<void> {
    await this.#until("all tasks are done", async () => {
      const left = (await this.#ask("squeue", ["-h", "-r", "-o", "%A %t %r"])).trim();
      for (const line of left.split("\n")) {
        const [id, state, reason] = line.split(" ");
        if (state === "PD" && reason === "BeginTime") {
          await this.#ask("scontrol", ["update", `jobid=${id}`, "starttime=now"]);
        }
      }
      return left === "";
    }, 180);
  }

  async #ask(program: string, args: string[]): Promise<string> {
    const { stdout } = await new Deno.Command(program, { args, env: this.env, stderr: "null" }).output();
    return new TextDecoder().decode(stdout);
  }

  #spawn(program: string, args: string[], name = program): void {
    const child = new Deno.Command(`/usr/sbin/${program}`, { args, env: this.env, stdout: "null", stderr: "null" })
      .spawn();
    this.#processes.set(name, child);
  }

  async #until(what: string, holds: () => Promise<boolean>, seconds = 30): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (!await holds()) {
      if (performance.now() > end) throw new Error(`waited ${seconds} s, and it does not hold that ${what}`);
      await new Promise((go) => setTimeout(go, 200));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const [, child] of [...this.#processes].reverse()) {
      try {
        child.kill("SIGTERM");
      } catch {
        // killed by the test
      }
      await child.status;
    }
    await Deno.remove(this.#folder, { recursive: true });
  }
}

function nameOf(id: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${id}/comm`);
  } catch {
    return "";
  }
}

/** All processes that we may look into, with their parents and environments. */
function processes(): { id: number; parent: number; environment: string[] }[] {
  return [...Deno.readDirSync("/proc")].filter(({ name }) => /^\d+$/.test(name)).flatMap(({ name }) => {
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      const environment = Deno.readTextFileSync(`/proc/${name}/environ`).split("\0");
      return [{ id: Number(name), parent, environment }];
    } catch {
      return []; // it has ended
    }
  });
}
