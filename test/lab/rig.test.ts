import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { captured, foreignFrames } from './capture.ts';
import { eventually, Lab, type LabNode, must, raven, run } from './harness.ts';
import { type Loss, lostDuring } from './pings.ts';

/** The rig of the requirements: A in a cloud, B and C behind NATs, masquerade by both iptables, rp_filter strict, b1 and c1 with one address. */

const RAVEN = fileURLToPath(new URL('../../bin/raven', import.meta.url));
interface NodeManifest {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podCIDR: string };
}

const CLUSTER = '10.244.0.0/16';
let lab: Lab;
let nodes: readonly LabNode[];
let store: string;

beforeAll(async () => {
  lab = await Lab.up('rig');
  ({ nodes, store } = await lab.list().then((list) => ({ nodes: list.nodes, store: list.store })));
});
afterAll(() => lab?.down());

const podCidrOf = (name: string): string => nodes.find((node) => node.name === name)!.podCIDR;
const netnsOf = (name: string): string => nodes.find((node) => node.name === name)!.netns;

const settled = (name: string): Promise<true> => lab.settled(nodes.find((node) => node.name === name)!);

describe('rig', () => {
  it('carries ICMP, TCP and UDP between all pods with their own source, though every node masquerades and b1 and c1 share an address (R1, R6)', async () => {
    const { pairs } = await lab.expectMatrix();
    const relayed = pairs.find(({ from, to }) => from === 'pod-b2' && to === 'pod-c2');
    expect(relayed?.path).toEqual(['b2', 'b1', 'a1', 'c1', 'c2']);
    const inner = pairs.find(({ from, to }) => from === 'pod-b2' && to === 'pod-b3');
    expect(inner?.path).toEqual(['b2', 'b3']);
  });

  it('keeps the source when masquerade rules come after the agent, in both iptables (R1)', async () => {
    for (const iptables of ['iptables-legacy', 'iptables-nft']) {
      const rule = ['-s', CLUSTER, '!', '-d', '224.0.0.0/4', '-j', 'MASQUERADE', '--random-fully'];
      await Promise.all(
        nodes.map(async ({ netns }) => {
          await must(['ip', 'netns', 'exec', netns, iptables, '-w', '-t', 'nat', '-D', 'FLANNEL-POSTRTG', ...rule]);
          await must(['ip', 'netns', 'exec', netns, iptables, '-w', '-t', 'nat', '-A', 'FLANNEL-POSTRTG', ...rule]);
        }),
      );
    }
    await lab.expectMatrix();
  });

  it.each(['iptables-legacy', 'iptables-nft'])(
    'is not misled by a rule of %s that accepts established packets first of all in mangle (R2)',
    async (iptables) => {
      const rule = ['PREROUTING', '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', '-j', 'ACCEPT'];
      const inEvery = (...argv: [string, ...string[]]) =>
        Promise.all(['a1', 'a2', 'b1', 'b2'].map((node) => run(['ip', 'netns', 'exec', netnsOf(node), ...argv])));
      await inEvery(iptables, '-w', '-t', 'mangle', '-I', ...rule);
      let inserted = 0;
      const reinsert = setInterval(() => {
        void inEvery(iptables, '-w', '-t', 'mangle', '-I', ...rule)
          .then(() => inEvery(iptables, '-w', '-t', 'mangle', '-D', ...rule))
          .then(() => inserted++);
        // More often than once a second, so that several come into one stream.
      }, 250);
      try {
        await lab.expectMatrix('--from', 'pod-a2', '--to', 'pod-b2', '--bytes', '10485760');
        await lab.expectMatrix('--from', 'pod-b2', '--to', 'pod-a2', '--bytes', '10485760');
        expect(inserted).toBeGreaterThan(3);
      } finally {
        clearInterval(reinsert);
        await eventually('the rules are gone', async () =>
          (await inEvery(iptables, '-w', '-t', 'mangle', '-D', ...rule)).every(({ code }) => code !== 0),
        );
      }
    },
  );

  it('reaches ClusterIP and NodePort from pods and hosts, on gateway and ordinary nodes, and names by DNS over UDP (R3)', async () => {
    const { pods, services } = await lab.list();
    const web = services.filter(({ port, protocol }) => port === 80 && protocol === 'TCP');
    const clusterIps = web.map(({ clusterIP }) => clusterIP);
    const nodePorts = web.flatMap(({ nodePort }) => nodePort ?? []);
    expect(clusterIps.length).toBeGreaterThan(1);
    expect(nodePorts.length).toBeGreaterThan(0);
    const get = async (netns: string, url: string): Promise<string> => {
      const script = `fetch(${JSON.stringify(url)},{signal:AbortSignal.timeout(20000)}).then(r=>r.text()).then(t=>process.stdout.write(t))`;
      const { stdout, stderr } = await run(['ip', 'netns', 'exec', netns, 'node', '-e', script]);
      return stdout === '' ? `${netns} ${url}: ${stderr.split('\n').find((line) => line.includes('rror')) ?? 'nothing'}` : stdout;
    };
    for (const name of ['a1', 'a2', 'b1', 'b2', 'c1', 'c2']) {
      const pod = pods.find(({ node }) => node === name)!;
      const own = nodes.find((node) => node.name === name)!.addresses[0]!.split('/')[0]!;
      for (const netns of [pod.netns, netnsOf(name)]) {
        for (const ip of clusterIps) expect(await get(netns, `http://${ip}/`)).toContain('"pod"');
        for (const port of nodePorts) expect(await get(netns, `http://${own}:${port}/`)).toContain('"pod"');
      }
    }
    for (const name of ['pod-b2', 'pod-c1']) {
      const script = `require('dns').promises.resolve4('web-edge.default.svc.cluster.local').then(a=>process.stdout.write(a[0]))`;
      expect(await must([RAVEN, 'lab', 'exec', name, '--name', lab.name, '--', 'node', '-e', script])).toMatch(/^10\.96\./);
    }
  });

  it('floods nothing: a third node sees no frame of others on the inner VXLAN (R33)', async () => {
    const b3 = nodes.find(({ name }) => name === 'b3')!;
    expect(await foreignFrames(b3, () => lab.expectMatrix('--from', 'pod-b2', '--to', 'a'))).toEqual([]);
  });

  it('tells nobody to go another way than by the relay: no ICMP redirect', async () => {
    const { netns } = await lab.podOn('b2');
    const target = (await lab.podOn('c2')).ips[0]!;
    const pings = () => must(['ip', 'netns', 'exec', netns, 'ping', '-n', '-c', '5', '-i', '0.2', target]);
    const redirects = () => captured({ netns, dev: 'any', filter: ['icmp[icmptype] = icmp-redirect'] }, pings);
    expect(await redirects()).toEqual([]);
  });

  it('writes nothing in 100 resyncs without change, and its VPN neither (R25)', async () => {
    await Promise.all(['a1', 'b1', 'b2'].map(settled));
    const watched = ['b1', 'b2'];
    const monitors = watched.flatMap((node) =>
      [
        ['ip', 'monitor', 'link', 'address', 'route', 'rule', 'nexthop'],
        ['nft', 'monitor'],
      ].map((argv) => {
        const child = spawn('ip', ['netns', 'exec', netnsOf(node), ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
        const output: string[] = [];
        child.stdout.on('data', (chunk: Buffer) => output.push(`${node}: ${chunk.toString()}`));
        return { child, output };
      }),
    );
    const agentOf = (name: string) => nodes.find((node) => node.name === name)!.processes.find(({ program }) => program === 'agent')!;
    const logOf = (name: string) => readFile(agentOf(name).log, 'utf8');
    const before = await Promise.all(watched.map(logOf));
    await Promise.all(
      watched.map(async (node, at) => {
        for (let i = 1; i <= 100; i++) {
          process.kill(agentOf(node).pid, 'SIGHUP');
          await eventually(
            'a resync',
            async () => (await logOf(node)).slice(before[at]!.length).split('"resync"').length > i,
            undefined,
            20,
          );
        }
      }),
    );
    const after = await Promise.all(watched.map(logOf));
    for (const { child } of monitors) child.kill('SIGTERM');
    const added = after.map((text, i) =>
      text
        .slice(before[i]!.length)
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as { msg: string }),
    );
    for (const lines of added) {
      expect(lines.filter(({ msg }) => msg === 'resync').length).toBe(100);
      expect(lines.filter(({ msg }) => msg !== 'resync')).toEqual([]);
    }
    expect(monitors.flatMap(({ output }) => output).filter((line) => !/STALE|REACHABLE|DELAY|PROBE/.test(line))).toEqual([]);
  });

  it('repairs whatever is deleted by hand (R25)', async () => {
    const uri = await must(['sh', '-c', `ls /run/raven-lab/${lab.name}/nodes/b1/run/*.vici`]);
    const damage: [string, ...string[]][] = [
      ['ip', 'route', 'del', podCidrOf('a2'), 'table', '9027'],
      ['ip', 'route', 'del', podCidrOf('b2'), 'table', '9028'],
      ['ip', 'rule', 'del', 'pref', '100'],
      ['ip', 'rule', 'del', 'pref', '101'],
      ['ip', 'neigh', 'flush', 'dev', 'raven0', 'nud', 'permanent'],
      ['bridge', 'fdb', 'flush', 'dev', 'raven0'],
      ['ip', 'nexthop', 'flush', 'proto', '82'],
      ['ip', 'link', 'del', 'raven0'],
      ['ip', 'link', 'set', 'raven0', 'mtu', '1200'],
      ['nft', 'delete', 'table', 'inet', 'raven'],
      ['nft', 'flush', 'chain', 'inet', 'raven', 'postrouting'],
      ['sysctl', '-qw', 'net.ipv4.conf.raven0.rp_filter=1'],
      ['swanctl', '--terminate', '--ike', 'raven-a1', '--uri', `unix://${uri.trim()}`],
    ];
    for (const argv of damage) {
      await must(['ip', 'netns', 'exec', netnsOf('b1'), ...argv]);
      await settled('b1');
      await eventually(`traffic after ${argv.join(' ')}`, async () => (await lab.matrix('--from', 'pod-b2', '--to', 'pod-a2')).ok);
    }
    await lab.expectMatrix();
  });

  it('leaves rp_filter of everything else as it was: strict (R29)', async () => {
    for (const { netns } of nodes) {
      const values = await must([
        'ip',
        'netns',
        'exec',
        netns,
        'sh',
        '-c',
        'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo "$f $(cat $f)"; done',
      ]);
      for (const line of values.trim().split('\n')) expect(line).toMatch(/conf\/(raven0|rvn-[^/]+)\/rp_filter 2$|rp_filter 1$/);
    }
  });

  it('names overlapping pod CIDRs on both Gateways, does not route them, and routes the rest (R36)', async () => {
    const file = join(store, 'nodes.yaml');
    const original = await readFile(file, 'utf8');
    const cidrOf = (name: string) =>
      parseAllDocuments(original)
        .map((doc) => doc.toJS() as NodeManifest)
        .find(({ metadata }) => metadata.name === name)!.spec.podCIDR;
    const [cidrOfA2, cidrOfC2] = [cidrOf('a2'), cidrOf('c2')];
    try {
      await writeFile(file, original.replaceAll(cidrOfC2, cidrOfA2));
      await eventually('both Gateways name the overlap', async () => {
        const { stdout } = await raven('get', 'gateways', '--store', `dir:${store}`, '-o', 'json');
        const items = (
          JSON.parse(stdout) as { items: { metadata: { name: string }; status?: { conditions?: { status: string; message: string }[] } }[] }
        ).items;
        const named = items.filter(({ status }) => status?.conditions?.some((c) => c.status === 'False' && c.message.includes(cidrOfA2)));
        return named.map(({ metadata }) => metadata.name).join() === 'a,c';
      });
      await Promise.all(['a1', 'b1', 'b2', 'c1'].map(settled));
      const routes = await must(['ip', 'netns', 'exec', netnsOf('b2'), 'ip', 'route', 'show', 'table', '9027']);
      expect(routes).not.toContain(cidrOfA2);
      await lab.expectMatrix('--from', 'pod-b2', '--to', 'pod-a1');
      await lab.expectMatrix('--from', 'pod-b2', '--to', 'pod-c1');
    } finally {
      await writeFile(file, original);
    }
    await eventually('everything is back', async () => (await lab.matrix()).ok);
  });

  it('harms nobody with a Gateway of unknown nodes, without endpoints, or half written (R35)', async () => {
    const odd = join(store, 'odd.yaml');
    const gateway = (name: string, spec: string) =>
      `apiVersion: raven.openyurt.io/v1beta1\nkind: Gateway\nmetadata: {name: ${name}}\nspec: ${spec}\n`;
    try {
      await writeFile(
        odd,
        `${gateway('ghost', '{tunnelConfig: {Replicas: 1}, endpoints: [{nodeName: nobody, type: tunnel}]}')}---\n${gateway('empty', '{}')}---\nkind: [`,
      );
      await eventually('the broken file is named', async () =>
        (await raven('get', 'gateways', '--store', `dir:${store}`)).stderr.includes('odd.yaml'),
      );
      await lab.expectMatrix();
      await writeFile(
        odd,
        `${gateway('ghost', '{tunnelConfig: {Replicas: 1}, endpoints: [{nodeName: nobody, type: tunnel}]}')}---\n${gateway('empty', '{}')}`,
      );
      await eventually('a condition names the unknown node', async () => {
        const { stdout } = await raven('get', 'gateways', 'ghost', '--store', `dir:${store}`, '-o', 'json');
        return stdout.includes('nobody') && stdout.includes('"conditions"');
      });
      await lab.expectMatrix();
    } finally {
      await run(['rm', '-f', odd]);
    }
  });

  const untilRole = (name: string, role: string): Promise<true> =>
    eventually(`${name} is ${role}`, async () => (await lab.node(name)).role === role);

  /** What is lost between ordinary nodes, into and out of region B, until `name` carries for it and everybody is as planned. */
  async function lostUntilMoved(name: string, begin: () => Promise<unknown>): Promise<readonly Loss[]> {
    let inner: Loss | undefined;
    const outer = await lostDuring(lab, ['b2', 'a2'], async () => {
      inner = await lostDuring(lab, ['c2', 'b2'], async () => {
        await begin();
        await untilRole(name, 'gateway');
        await Promise.all(['a1', 'b2', 'b3', 'c1'].map(settled));
      });
    });
    return [outer, inner!];
  }

  /** In user space both ends change their SAs one a moment after the other, so a move is not free: docs/operations.md, "Maintenance of a gateway". */
  const report = (losses: readonly Loss[]): void =>
    void process.stdout.write(`lost of ${losses.map(({ lost, sent }) => `${lost}/${sent}`).join(', ')} pings, b2 → a2 and c2 → b2\n`);

  it('lets a cordoned gateway give its part to another while packets flow, and does not take it back (R23)', async () => {
    const file = join(store, 'nodes.yaml');
    const original = await readFile(file, 'utf8');
    const documents = parseAllDocuments(original);
    documents.find((doc) => doc.getIn(['metadata', 'name']) === 'b1')!.setIn(['spec', 'unschedulable'], true);
    try {
      const losses = await lostUntilMoved('b3', () => writeFile(file, documents.map(String).join('')));
      const { stdout } = await raven('status', '--store', `dir:${store}`);
      expect(stdout).toContain('node b1 is to be left: it is cordoned');
      report(losses);
    } finally {
      await writeFile(file, original);
    }
    await untilRole('b1', 'standby');
    await eventually(
      'nothing stands against b1',
      async () => !(await raven('status', '--store', `dir:${store}`)).stdout.includes('b1 is to be left'),
    );
    expect((await lab.node('b3')).role).toBe('gateway');
  });

  it('lets another node take over before an agent stops that is told to (R23)', async () => {
    const agent = (await lab.node('b3')).processes.find(({ program }) => program === 'agent')!;
    const argv = (await readFile(`/proc/${agent.pid}/cmdline`, 'utf8')).split('\0').filter((word) => word !== '');
    await lab.raven('lab', 'kill', 'b3/agent');
    let said = '';
    const draining = spawn('ip', ['netns', 'exec', netnsOf('b3'), ...argv, '--drain'], { stdio: ['ignore', 'pipe', 'pipe'] });
    const ended = new Promise<number | null>((resolve) => draining.once('exit', resolve));
    for (const stream of [draining.stdout, draining.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString()));
    try {
      await eventually('the agent works', async () => said.includes('"role"'));
      const losses = await lostUntilMoved('b1', async () => draining.kill('SIGTERM'));
      expect(await ended).toBe(0);
      expect(said).toContain('another endpoint was elected');
      expect(said).toMatch(/drained: nothing of others comes here any more/);
      report(losses);
    } finally {
      draining.kill('SIGKILL');
      await lab.raven('lab', 'start', 'b3/agent');
    }
    await eventually('b3 is ready to be elected again', async () => {
      const lease = JSON.parse(
        (await raven('get', 'leases', 'raven-agent-b3', '-n', 'kube-system', '-o', 'json', '--store', `dir:${store}`)).stdout,
      ) as {
        readonly metadata: { readonly annotations?: object };
      };
      return !('raven.openyurt.io/draining' in (lease.metadata.annotations ?? {}));
    });
    nodes = (await lab.list()).nodes;
  });

  it('lets another node take over when a gateway loses power, and takes it back without a bounce (R26)', async () => {
    expect((await lab.raven('lab', 'kill', 'b1')).code).toBe(0);
    await eventually('b3 is the gateway', async () => (await lab.node('b3')).role === 'gateway');
    await eventually(
      'traffic flows again',
      async () => (await lab.matrix('--from', 'b', '--to', 'a')).ok && (await lab.matrix('--from', 'c', '--to', 'b')).ok,
    );
    await Promise.all(['a1', 'b2', 'b3', 'c1'].map(settled));
    expect((await lab.raven('lab', 'start', 'b1')).code).toBe(0);
    nodes = (await lab.list()).nodes;
    await eventually('b1 is back as standby', async () => (await lab.node('b1')).role === 'standby');
    await settled('b1');
    await eventually('every pair', async () => (await lab.matrix()).ok);
    expect((await lab.node('b3')).role).toBe('gateway');
  });

  it('follows a node that leaves its region, everywhere (R26)', async () => {
    const file = join(store, 'nodes.yaml');
    const original = await readFile(file, 'utf8');
    const documents = parseAllDocuments(original);
    documents
      .find((doc) => doc.getIn(['metadata', 'name']) === 'b2')!
      .setIn(['metadata', 'labels', 'raven.openyurt.io/gateway'], 'nowhere');
    try {
      await writeFile(file, documents.map(String).join(''));
      await eventually('b2 carries nothing', async () => (await run(['ip', '-n', netnsOf('b2'), 'link', 'show', 'raven0'])).code !== 0);
      await Promise.all(['a1', 'b3', 'c1'].map(settled));
      const routes = await must(['ip', 'netns', 'exec', netnsOf('a1'), 'ip', 'route', 'show', 'table', '9027']);
      expect(routes).not.toContain((await lab.podOn('b2')).ips[0]!.replace(/\.\d+(\/.*)?$/, '.0/24'));
    } finally {
      await writeFile(file, original);
    }
    await eventually('every pair', async () => (await lab.matrix()).ok);
  });

  it('elects another gateway when a firewall drops what the active one should forward (R20)', async () => {
    const [from, to] = (await lab.node('b1')).role === 'gateway' ? (['b1', 'b3'] as const) : (['b3', 'b1'] as const);
    const iptables = (...args: string[]): Promise<unknown> => must(['ip', 'netns', 'exec', netnsOf(from), 'iptables-nft', '-w', ...args]);
    await iptables('-I', 'FORWARD', '-j', 'DROP');
    try {
      await untilRole(to, 'gateway');
      await eventually('b2 reaches A again', async () => (await lab.matrix('--from', 'pod-b2', '--to', 'a')).ok);
      const { stdout } = await raven('status', '--store', `dir:${store}`);
      expect(stdout).toContain(`${from} (NotForwarding)`);
      // Its nodes may notice before the agent looks at its firewall.
      const why = new RegExp(`tunnel moved from ${from} to ${to}: node ${from} does not forward: (a firewall|.* nothing gets across)`);
      expect((await raven('get', 'events', '--store', `dir:${store}`)).stdout).toMatch(why);
    } finally {
      await iptables('-D', 'FORWARD', '-j', 'DROP');
    }
    await eventually('every pair', async () => (await lab.matrix()).ok);
    expect((await lab.node(to)).role).toBe('gateway');
  });
});
