import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { captured } from './capture.ts';
import { eventually, Lab, type LabList, must, raven, run } from './harness.ts';
import { NODE_IPS } from './topologies.ts';

/** `--forward-node-ip`: nodes are reached under their own addresses from other regions (R5, R6). */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
const KUBELET_PORT = 10250;
let folder: string;
let lab: Lab;
let list: LabList;
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'raven-node-ips-'));
});
afterEach(async () => {
  for (const child of running.splice(0)) child.kill('SIGKILL');
});
afterAll(async () => {
  await lab?.down();
  await rm(folder, { recursive: true, force: true });
});

async function up(topology: string): Promise<void> {
  lab = await Lab.up(topology, '--forward-node-ip');
  list = await lab.list();
}

const ipOf = (node: string) => list.nodes.find(({ name }) => name === node)!.addresses[0]!.split('/')[0]!;
const netnsOf = (name: string) => [...list.nodes, ...list.pods].find((each) => each.name === name)!.netns;
const routesOf = (node: string, table: number) =>
  run(['ip', '-n', netnsOf(node), 'route', 'show', 'table', String(table)]).then(({ stdout }) => stdout);

/** A process on a node or pod; ended with the test. */
function launch(name: string, ...argv: string[]): ChildProcess {
  const child = spawn('ip', ['netns', 'exec', netnsOf(name), ...argv], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.push(child);
  return child;
}

/** On each node something that listens where a kubelet does, and says whom it sees. */
async function startKubelets(nodes: readonly string[]): Promise<void> {
  const script = `require('net').createServer((s)=>s.end(s.remoteAddress)).listen(${KUBELET_PORT},'0.0.0.0',()=>console.log('ready'))`;
  await Promise.all(nodes.map((name) => new Promise((resolve) => launch(name, 'node', '-e', script).stdout!.once('data', resolve))));
}

async function ping(from: string, ip: string): Promise<boolean> {
  return (await run(['ip', 'netns', 'exec', netnsOf(from), 'ping', '-n', '-c', '1', '-W', '5', ip])).code === 0;
}

/** By ping and TCP. @returns whom the node saw, or what failed */
async function reach(from: string, ip: string): Promise<string> {
  if (!(await ping(from, ip))) return `${from} → ${ip}: no ping`;
  const script = `const s=require('net').connect(${KUBELET_PORT},'${ip}');s.setTimeout(10000,()=>s.destroy());s.on('error',()=>{});s.on('data',(d)=>process.stdout.write(d))`;
  const { stdout } = await run(['ip', 'netns', 'exec', netnsOf(from), 'node', '-e', script]);
  return stdout === '' ? `${from} → ${ip}: no TCP` : stdout;
}

describe('node addresses', () => {
  beforeAll(async () => {
    const file = join(folder, 'topology.yaml');
    await writeFile(file, NODE_IPS);
    await up(file);
    // A gateway's own address is carried as soon as another one has seen that it comes from elsewhere; tunnels in user space then need new selectors.
    const gateways = ['a1', 'b1', 'c1'];
    for (const from of gateways) {
      for (const to of gateways.filter((name) => name !== from))
        await eventually(`${to} answers ${from}`, async () => (await ping(from, ipOf(to))) && (await ping(`pod-${from}`, ipOf(to))));
    }
  });
  afterAll(() => lab.down());

  it('are reached from pods and hosts, on gateways and ordinary nodes, also relayed; pods keep their address (R5)', async () => {
    const names = list.nodes.map(({ name }) => name);
    await startKubelets(names);
    const pairs = names.flatMap((from) => names.filter((to) => to[0] !== from[0]).map((to) => [from, to] as const));
    for (const [from, to] of pairs) {
      const pod = await lab.podOn(from);
      expect([from, to, await reach(pod.name, ipOf(to))]).toEqual([from, to, pod.ips[0]!.split('/')[0]]);
      // A host stands for itself with its address inside its pod CIDR, which every region can answer.
      expect([from, to, await reach(from, ipOf(to))]).toEqual([from, to, pod.ips[0]!.replace(/\.\d+(\/.*)?$/, '.1')]);
    }
  });

  it('lead hosts to remote pods and to NodePorts of remote nodes (R5)', async () => {
    for (const from of ['a1', 'a2', 'b1', 'b2', 'c2']) {
      for (const { node, ips } of list.pods.filter(({ region }) => region !== from[0]))
        expect([
          from,
          node,
          (await run(['ip', 'netns', 'exec', netnsOf(from), 'ping', '-n', '-c', '1', '-W', '5', ips[0]!.split('/')[0]!])).code,
        ]).toEqual([from, node, 0]);
      const script = (ip: string) =>
        `fetch('http://${ip}:30080/',{signal:AbortSignal.timeout(20000)}).then(r=>r.text()).then(t=>process.stdout.write(t))`;
      for (const to of ['a1', 'b2', 'c1'].filter((name) => name[0] !== from[0]))
        expect([from, to, await must(['ip', 'netns', 'exec', netnsOf(from), 'node', '-e', script(ipOf(to))])]).toEqual([
          from,
          to,
          expect.stringContaining('"pod"'),
        ]);
    }
  });

  it('are carried in one envelope at a time: no loop, no tunnel in a tunnel (R5)', async () => {
    const target = ipOf('a2');
    const pings = async () =>
      expect(await must(['ip', 'netns', 'exec', netnsOf('b2'), 'ping', '-n', '-c', '10', '-i', '0.05', '-s', '1000', target])).toContain(
        ' 10 received',
      );
    const onB1 = (dev: string, ...filter: string[]) => captured({ netns: netnsOf('b1'), dev, filter }, pings);
    const inner = (await onB1('eth0', '-T', 'vxlan', 'udp', 'port', '4472')).filter((line) => / ICMP echo re/.test(line));
    expect(inner.length).toBe(20);
    expect(inner.filter((line) => !/^IP (10\.244\.\d+\.1 > 10\.0\.1\.11|10\.0\.1\.11 > 10\.244\.\d+\.1): /.test(line))).toEqual([]);
    const tunnel = await onB1('rvn-ipsec', 'host', target);
    expect(tunnel.filter((line) => !/ICMP echo re/.test(line))).toEqual([]);
    expect(tunnel.length).toBe(20);
    const outside = await onB1('eth0', 'udp', 'port', '4500', 'and', 'greater', '1000');
    expect(outside.length).toBe(20);
    // 1000 bytes, ICMP 8, IPv4 20, ESP in UDP 52, of which 2 are padding.
    for (const line of outside) expect(Number(/length (\d+)$/.exec(line)?.[1])).toBeLessThan(1100);
  });

  it('are as planned, and writes end', async () => {
    for (const { name, netns } of list.nodes) {
      const diff = () =>
        run(['ip', 'netns', 'exec', netns, RAVEN, 'plan', '--store', `dir:${list.store}`, '--node', name, '--forward-node-ip', '--diff']);
      await eventually(`${name} is as planned`, async () => (await diff()).code === 0);
    }
  });

  it('of agents that forward none are not routed, while everything else stays', async () => {
    const agent = list.nodes.find(({ name }) => name === 'b1')!.processes.find(({ program }) => program === 'agent')!;
    const argv = (await readFile(`/proc/${agent.pid}/cmdline`, 'utf8')).split('\0').filter((word) => word !== '');
    expect(argv.slice(-2)).toEqual(['--forward-node-ip', 'true']);
    await raven('lab', 'kill', 'b1/agent', '--name', lab.name);
    launch('b1', ...argv.slice(0, -1), 'false');
    await eventually('b1 routes no node', async () => !/^(10\.0\.1|192\.168\.2)\.1/m.test(await routesOf('b1', 9027)));
    expect(await routesOf('b1', 9028)).not.toMatch(/^192\.168/m);
    await eventually('every pair', async () => (await lab.matrix()).ok);
    await startKubelets(['a2', 'c2']);
    expect(await reach('a1', ipOf('c2'))).toMatch(/^10\.244\./);
    expect(await reach('c1', ipOf('a2'))).toMatch(/^10\.244\./);
  });
});

describe('node addresses that two regions have (R6)', () => {
  beforeAll(() => up('rig'));

  it('are refused in words that name both regions; everything else works', async () => {
    await lab.expectMatrix();
    await eventually('the condition names both', async () => {
      const { stdout } = await raven('get', 'tunnelendpoint', 'b1', '--store', `dir:${list.store}`, '-o', 'json');
      const { conditions } = (
        JSON.parse(stdout) as { status: { conditions: { type: string; status: string; reason: string; message: string }[] } }
      ).status;
      return conditions.some(
        ({ type, status, reason, message }) =>
          type === 'PlanComplete' &&
          status === 'False' &&
          reason === 'NodeAddressDuplicate' &&
          message.includes('192.168.1.10 (regions b, c)'),
      );
    });
    expect((await raven('status', '--store', `dir:${list.store}`)).stdout).toMatch(
      /NodeAddressDuplicate.*192\.168\.1\.10 \(regions b, c\)/,
    );
    const routes = await Promise.all(list.nodes.map(({ name }) => routesOf(name, 9027)));
    expect(routes.join('')).not.toMatch(/^192\.168\.1\.1[01] /m);
    await startKubelets(['a2', 'b3']);
    // b3's address is its own; c has the same LAN and must look for it there.
    expect(await reach('a2', ipOf('b3'))).toMatch(/^10\.244\./);
    expect(await reach('pod-c2', ipOf('a2'))).toMatch(/^10\.244\./);
    expect(await routesOf('c2', 9027)).not.toContain('192.168.1.12');
  });
});
