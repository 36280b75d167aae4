import { execFile, type ExecFileException } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** A lab driven as its users drive it: through `bin/raven` and the JSON that it prints. */

export const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
/** Generous: under software emulation everything takes ten times as long. */
const COMMAND_TIMEOUT_MS = 240_000;

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LabNode {
  readonly name: string;
  readonly region: string;
  readonly role: string;
  readonly netns: string;
  readonly addresses: readonly string[];
  readonly interface: string;
  readonly podCIDR: string;
  readonly processes: readonly { readonly program: string; readonly pid: number; readonly log: string; readonly state: string }[];
}

export interface LabPod {
  readonly name: string;
  readonly node: string;
  readonly region: string;
  readonly netns: string;
  readonly ips: readonly string[];
  readonly interface: string;
  /** Control socket of its program. */
  readonly socket: string;
}

export interface LabList {
  readonly version: number;
  readonly name: string;
  readonly nodes: readonly LabNode[];
  readonly pods: readonly LabPod[];
  readonly routers: readonly { readonly name: string; readonly netns: string; readonly nat: string }[];
  readonly services: readonly {
    readonly clusterIP: string;
    readonly port: number;
    readonly protocol: string;
    readonly nodePort: number | null;
  }[];
  readonly store: string;
}

export interface Matrix {
  readonly version: number;
  readonly ok: boolean;
  readonly pairs: readonly {
    readonly from: string;
    readonly to: string;
    readonly family: number;
    readonly icmp: boolean;
    readonly tcp: boolean;
    readonly udp: boolean;
    readonly sourceSeen: string | null;
    readonly path: readonly string[];
    readonly ok: boolean;
    readonly error: string | null;
  }[];
  /** With `--services`. */
  readonly services?: readonly { readonly via: string; readonly address: string; readonly ok: boolean; readonly error: string | null }[];
}

/** Runs a program to its end, whatever its exit code. */
export function run(argv: readonly [string, ...string[]], stdin?: string): Promise<Result> {
  const [file, ...args] = argv;
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      { timeout: COMMAND_TIMEOUT_MS, maxBuffer: 64 << 20 },
      (error: ExecFileException | null, stdout, stderr) => {
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(stdin);
  });
}

/** The same, but a failure is thrown with what the program said. */
export async function must(argv: readonly [string, ...string[]], stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await run(argv, stdin);
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}\n${stdout}\n${stderr}`);
  return stdout;
}

export const raven = (...args: string[]): Promise<Result> => run([RAVEN, ...args]);

const standing = new Set<Lab>();

/** For programs that are interrupted: takes down every lab that this process brought up. */
export async function removeOwnLabs(): Promise<void> {
  for (const lab of standing) await lab.down();
}

/** A running lab; `down` removes it. */
export class Lab {
  readonly name: string;

  private constructor(name: string) {
    this.name = name;
  }

  static async up(topology: string, ...options: string[]): Promise<Lab> {
    const lab = new Lab(`t${process.pid}-${(serial++).toString(36)}`);
    standing.add(lab);
    const { code, stderr } = await raven('lab', 'up', topology, '--name', lab.name, ...options);
    if (code !== 0) {
      const logs = await run([
        'sh',
        '-c',
        `tail -n 8 /run/raven-lab/${lab.name}/nodes/*/*.log /run/raven-lab/${lab.name}/*.log | cut -c 1-300`,
      ]);
      await lab.down();
      throw new Error(`raven lab up: exit code ${code}\n${stderr}\n${logs.stdout}`);
    }
    return lab;
  }

  async down(): Promise<void> {
    await raven('lab', 'down', '--name', this.name);
    standing.delete(this);
  }

  async list(): Promise<LabList> {
    return JSON.parse(await must([RAVEN, 'lab', 'ls', '--name', this.name, '-o', 'json'])) as LabList;
  }

  async node(name: string): Promise<LabNode> {
    const node = (await this.list()).nodes.find((each) => each.name === name);
    if (node === undefined) throw new Error(`no node ${name}`);
    return node;
  }

  async podOn(node: string): Promise<LabPod> {
    const pod = (await this.list()).pods.find((each) => each.node === node);
    if (pod === undefined) throw new Error(`no pod on ${node}`);
    return pod;
  }

  async matrix(...options: string[]): Promise<Matrix> {
    const { stdout, stderr } = await raven('lab', 'matrix', '--name', this.name, '-o', 'json', ...options);
    if (stdout === '') throw new Error(`raven lab matrix printed nothing: ${stderr}`);
    return JSON.parse(stdout) as Matrix;
  }

  /** @throws when a pair is not ok, with what was wrong */
  async expectMatrix(...options: string[]): Promise<Matrix> {
    const matrix = await this.matrix(...options);
    const failed = matrix.pairs.filter(({ ok }) => !ok);
    if (failed.length > 0) throw new Error(failed.map(({ from, to, error }) => `${from} → ${to}: ${error ?? 'not ok'}`).join('\n'));
    if (!matrix.ok || matrix.pairs.length === 0) throw new Error(`matrix: ok ${matrix.ok}, ${matrix.pairs.length} pairs`);
    return matrix;
  }

  exec(name: string, ...argv: string[]): Promise<Result> {
    return raven('lab', 'exec', name, '--name', this.name, '--', ...argv);
  }

  /** In a node's or pod's namespace, without the detour through the CLI. */
  in(netns: string, ...argv: string[]): Promise<string> {
    return must(['ip', 'netns', 'exec', netns, ...argv]);
  }

  raven(...args: string[]): Promise<Result> {
    return raven(...args, '--name', this.name);
  }

  /** What `raven plan --diff` would still change on a node; empty when the kernel is as planned. */
  async drift(node: LabNode): Promise<string> {
    const kubeconfig = `/run/raven-lab/${this.name}/nodes/${node.name}/agent.kubeconfig`;
    const { stdout, stderr, code } = await run([
      'ip',
      'netns',
      'exec',
      node.netns,
      RAVEN,
      'plan',
      '--store',
      existsSync(kubeconfig) ? `kube:${kubeconfig}` : `dir:/run/raven-lab/${this.name}/store`,
      '--node',
      node.name,
      '--diff',
      '--run-dir',
      `/run/raven-lab/${this.name}/nodes/${node.name}/run`,
    ]);
    if (code !== 0 && code !== 1) throw new Error(stderr);
    return stdout;
  }

  settled(node: LabNode): Promise<true> {
    return eventually(`${node.name} is as planned`, async () => (await this.drift(node)) === '' || undefined);
  }
}

let serial = 0;

/** Waits until `check` is content; a state, not a duration, is what is asserted. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  timeoutMs = 120_000,
  everyMs = 250,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let last = '';
  while (Date.now() < deadline) {
    try {
      const result = await check();
      if (result !== undefined && result !== false) return result;
    } catch (error) {
      last = ` (${error instanceof Error ? error.message : String(error)})`;
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}${last}`);
}

/** RFC 3948 and RFC 4106 by hand, to check the program's own arithmetic: 20 + 8 + 8 + 8 + 16 bytes around, 2 of trailer, 4-byte blocks. */
export function espMtuOf(underlay: number): number {
  return Math.floor((underlay - 60) / 4) * 4 - 2;
}

/** The user-space device's own limit; the kernel's XFRM devices have none. */
export async function tunLimit(lab: Lab, node: string): Promise<number> {
  const { code, stdout } = await run(['ip', '-n', (await lab.node(node)).netns, '-j', 'link', 'show', 'rvn-ipsec']);
  return code === 0 ? (JSON.parse(stdout) as { mtu: number }[])[0]!.mtu : Number.POSITIVE_INFINITY;
}
