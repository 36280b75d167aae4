import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseDocument } from 'yaml';
import { GATEWAY_LABEL } from '../src/api/names.ts';
import { eventually, Lab, type LabList, type LabNode, must, RAVEN, run } from '../test/lab/harness.ts';
import type { Deviation } from './exact.ts';
import { type Foreign, foreignDamage, plantForeign } from './foreign.ts';
import { type Objects, objectsOf, withKey } from './objects.ts';

export const DRIVERS = ['ipsec', 'wireguard'] as const;
export type Driver = (typeof DRIVERS)[number];
export const STORES = ['dir', 'kube'] as const;
export type Store = (typeof STORES)[number];

const RIG = fileURLToPath(new URL('../topologies/rig.yaml', import.meta.url));
/** A real API server starts slowly on a busy machine. */
const UP_TIMEOUT_S = '300';
const LOOK_MS = 100;

/** Members that are in the topology, but neither running nor in a region until something joins. */
export const JOINING = ['b4', 'd1'] as const;
/** The gateway endpoints of region B in the order of its spec. */
const ENDPOINTS_OF_B = ['b1', 'b3'];

interface Endpoint {
  readonly nodeName: string;
}

/** A lab to do harm to: the requirements' rig, with foreign objects on all nodes, and a node b4 and a region D that may join it. */
export class Rig {
  readonly lab: Lab;
  readonly driver: Driver;
  readonly store: Store;
  readonly objects: Objects;
  readonly #list: LabList;
  /** Of region B, as the lab made them, by node. */
  readonly #endpoints = new Map<string, Endpoint>();
  /** By node. */
  readonly #foreign = new Map<string, Foreign>();

  private constructor(lab: Lab, list: LabList, driver: Driver, store: Store) {
    this.lab = lab;
    this.#list = list;
    this.driver = driver;
    this.store = store;
    this.objects = objectsOf(lab.name, store);
  }

  /** @param onLab is given the lab as soon as there is one, for whoever is interrupted */
  static async up(driver: Driver, store: Store, onLab: (lab: Lab) => void = () => undefined): Promise<Rig> {
    const folder = await mkdtemp(join(tmpdir(), 'raven-chaos-'));
    let lab: Lab | undefined;
    try {
      const file = join(folder, 'chaos.yaml');
      await writeFile(file, widerRig(await readFile(RIG, 'utf8')));
      lab = await Lab.up(file, '--vpn-driver', driver, '--store', store, '--timeout', UP_TIMEOUT_S);
      onLab(lab);
      const rig = new Rig(lab, await lab.list(), driver, store);
      for (const name of JOINING) await rig.leave(name);
      await rig.objects.remove('Gateway', 'd');
      await rig.setEndpoints(ENDPOINTS_OF_B);
      for (const { name } of await rig.runningNodes()) await rig.#plant(name);
      return rig;
    } catch (error) {
      await lab?.down();
      throw error;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  down(): Promise<void> {
    return this.lab.down();
  }

  /** Of a node, pod, router, `internet` or `control`. */
  netns(member: string): string {
    return `raven-${this.lab.name}-${member}`;
  }

  /** Folder with a node's logs, sockets and state. */
  home(node: string): string {
    return `/run/raven-lab/${this.lab.name}/nodes/${node}`;
  }

  /** The program that carries packets in user space. */
  get daemon(): 'charon' | 'wireguard-go' {
    return this.driver === 'ipsec' ? 'charon' : 'wireguard-go';
  }

  /** Nodes of a region, but for those that may join it. */
  nodesOf(region: string): string[] {
    const joining: readonly string[] = JOINING;
    return this.#list.nodes.filter((node) => node.region === region && !joining.includes(node.name)).map(({ name }) => name);
  }

  async runningNodes(): Promise<LabList['nodes']> {
    return (await this.lab.list()).nodes.filter(({ processes }) => processes.length > 0);
  }

  podCidr(node: string): string {
    return this.#list.nodes.find(({ name }) => name === node)?.podCIDR ?? '';
  }

  /** Address and control socket of the pod on a node. */
  pod(node: string): { readonly ip: string; readonly socket: string } {
    const pod = this.#list.pods.find((each) => each.node === node);
    if (pod === undefined) throw new Error(`no pod on ${node}`);
    return { ip: pod.ips[0]?.split('/')[0] ?? '', socket: `/run/raven-lab/${this.lab.name}/pods/${pod.name}/pod.sock` };
  }

  /** Runs a program in a member's namespace. @throws when it fails, with what it said */
  in(member: string, argv: readonly string[], stdin?: string): Promise<string> {
    return must(['ip', 'netns', 'exec', this.netns(member), ...argv], stdin);
  }

  /** SIGKILLs a program such as `b1/agent`, or takes a node's power. Nothing happens when it is down already. */
  async kill(target: string): Promise<void> {
    const { code, stderr } = await this.lab.raven('lab', 'kill', target);
    if (code !== 0 && !/is not running|is down already/.test(stderr)) throw new Error(`lab kill ${target}: ${stderr}`);
  }

  /** Starts a program or a node again; the agent's own daemons are not started by hand. */
  async start(target: string): Promise<void> {
    const started = await eventually(`${target} starts`, async () => {
      const { code, stderr } = await this.lab.raven('lab', 'start', target);
      if (code !== 0 && !/is running already|is up already/.test(stderr)) throw new Error(stderr);
      return code === 0 ? 'now' : 'before';
    });
    if (started === 'now' && this.#list.nodes.some(({ name }) => name === target)) await this.#plant(target);
  }

  /** Ends a node's agent as an administrator does. */
  async terminateAgent(node: string): Promise<void> {
    const agentOf = async (): Promise<LabNode['processes'][number] | undefined> =>
      (await this.lab.node(node)).processes.find(({ program }) => program === 'agent');
    const agent = await agentOf();
    if (agent?.state !== 'running') return;
    process.kill(agent.pid, 'SIGTERM');
    await eventually(`the agent of ${node} ends`, async () => (await agentOf())?.state === 'dead', undefined, LOOK_MS);
  }

  /** Starts a node's agent and waits until it has done its work once. @param replaced from another copy of the program */
  async startAgent(node: string, replaced = false): Promise<void> {
    const log = join(this.home(node), 'agent.log');
    const before = (await readFile(log, 'utf8')).length;
    const program = replaced ? await this.#copyOfProgram() : RAVEN;
    await must([program, 'lab', 'start', `${node}/agent`, '--name', this.lab.name]);
    const works = async (): Promise<boolean> => (await readFile(log, 'utf8')).slice(before).includes('"role"');
    await eventually(`the agent of ${node} works`, works, undefined, LOOK_MS);
  }

  /** Tells a node's charon something. */
  async swanctl(node: string, ...args: string[]): Promise<string> {
    const [socket = ''] = (await must(['find', `${this.home(node)}/run`, '-name', '*.vici'])).split('\n');
    return this.in(node, ['swanctl', ...args, '--uri', `unix://${socket}`]);
  }

  /** A second copy of bin/raven, in the lab's folder, with which it goes. */
  async #copyOfProgram(): Promise<string> {
    const copy = `/run/raven-lab/${this.lab.name}/copy`;
    if (existsSync(copy)) return join(copy, 'bin/raven');
    const checkout = join(RAVEN, '../..');
    await mkdir(copy);
    for (const folder of ['bin', 'dist']) await cp(join(checkout, folder), join(copy, folder), { recursive: true });
    await symlink(join(checkout, 'node_modules'), join(copy, 'node_modules'));
    return join(copy, 'bin/raven');
  }

  /** What of other people's things is not as it was on running nodes. */
  async foreignDamage(): Promise<Deviation[]> {
    const running = new Set((await this.runningNodes()).map(({ name }) => name));
    const planted = [...this.#foreign].filter(([node]) => running.has(node));
    const damage = await Promise.all(
      planted.map(async ([node, foreign]) => (await foreignDamage(foreign)).map((what) => ({ node, what }))),
    );
    return damage.flat();
  }

  async #plant(node: string): Promise<void> {
    this.#foreign.set(node, await plantForeign(this.netns(node)));
  }

  /** Through which node b2's packets leave its region, as its kernel says; undefined when they do not. */
  async exit(): Promise<string | undefined> {
    const { stdout } = await run(['ip', '-n', this.netns('b2'), 'route', 'get', this.pod('a2').ip]);
    const via = /\bvia ([\d.]+)/.exec(stdout)?.[1];
    return this.#list.nodes.find(({ region, addresses }) => region === 'b' && addresses.some((ip) => ip.split('/')[0] === via))?.name;
  }

  /** Waits until one carries. */
  carrier(): Promise<string> {
    return eventually('an endpoint of b carries', () => this.exit());
  }

  /** The gateway endpoints of region B, in this order. */
  async setEndpoints(nodes: readonly string[]): Promise<void> {
    await this.objects.edit('Gateway', 'b', (gateway) => {
      for (const each of gateway.spec['endpoints'] as readonly Endpoint[]) this.#endpoints.set(each.nodeName, each);
      return { ...gateway, spec: { ...gateway.spec, endpoints: nodes.flatMap((node) => this.#endpoints.get(node) ?? []) } };
    });
  }

  /** @param region undefined: in none */
  setRegion(node: string, region: string | undefined): Promise<void> {
    return this.objects.edit('Node', node, (object) => withKey(object, 'labels', GATEWAY_LABEL, region));
  }

  /** Takes one of JOINING out of its region, and its power, and what it remembers. */
  async leave(node: (typeof JOINING)[number]): Promise<void> {
    await this.setRegion(node, undefined);
    await this.kill(node);
    await rm(`${this.home(node)}/state`, { recursive: true, force: true });
  }
}

/** The rig, and beside it what can join. Pure. */
function widerRig(rig: string): string {
  const document = parseDocument(rig);
  document.setIn(['name'], 'chaos');
  document.addIn(['regions', 1, 'nodes'], document.createNode({ name: 'b4', ip: '192.168.1.13', gateway: true }));
  document.addIn(
    ['regions'],
    document.createNode({
      name: 'd',
      lan: '192.168.1.0/24',
      router: { nat: 'cone', publicIp: '198.51.100.4' },
      nodes: [{ name: 'd1', ip: '192.168.1.10', gateway: true }],
    }),
  );
  return document.toString();
}
