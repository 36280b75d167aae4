import {
  FROM_TUNNEL_MARK,
  PROBE_PORT,
  RULE_PREF_FROM_REGIONS,
  RULE_PREF_PROBES,
  RULE_PREF_TO_REGIONS,
  TABLE_FROM_REGIONS,
  TABLE_PROBES,
  TABLE_TO_REGIONS,
  TUNNEL_GROUP,
  VXLAN_DEVICE,
  VXLAN_ID,
  VXLAN_PORT,
} from '../src/api/names.ts';
import { formatRule } from '../src/domain/node-plan.ts';
import { planNft } from '../src/domain/nft-rules.ts';
import { formatNftScript } from '../src/domain/nft-text.ts';
import { hostExec, netnsExec } from '../src/drivers/exec/exec.ts';
import { withRemoval } from './scope.ts';
import { parseCidr } from '../src/net/cidr.ts';
import { parseIp } from '../src/net/ip.ts';
import { median, middleHalf, printTable, round } from './table.ts';

/**
 * What a gateway's own work costs, without encryption and without everything else that makes throughput scatter: the processor time of `ping -f`,
 * in whose name the kernel carries each packet all the way and the answer back. It repeats within some 3 % on a busy machine.
 *
 * Four namespaces: behind the tunnel (a cable of the tunnels' group stands for it), the gateway, a pod of its own, and another node of the region.
 */
const NAMES = { far: 'rvfwd-far', gateway: 'rvfwd-gw', pod: 'rvfwd-pod', node: 'rvfwd-node' } as const;
const PINGS = 20_000;
const ROUNDS = 5;
const [FAR, POD, NODE] = ['10.244.2.5', '10.244.0.5', '10.244.1.5'];
const TO_FAR = '10.244.2.0/24 via 10.9.0.1 dev rvn-cable';
const TO_NODE = `10.244.1.0/24 via 192.168.7.2 dev ${VXLAN_DEVICE} onlink`;
const WAYS = { 'its own pod': POD, 'another node by VXLAN': NODE } as const;
const CNI_MASQUERADE = '-t nat -A POSTROUTING -s 10.244.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully';
type Way = keyof typeof WAYS;

/** In the gateway's namespace: lines of ip(8) and of iptables(8), and a script of nft(8). */
interface Setup {
  readonly ip: readonly string[];
  readonly iptables: readonly string[];
  readonly nft: string;
}

const BY_HAND: Setup = {
  ip: [`route add ${TO_FAR}`, `route replace ${TO_NODE}`],
  // As `hand-made.ts` has them.
  iptables: [
    '-t nat -I POSTROUTING -s 10.244.0.0/16 -d 10.244.0.0/16 -j ACCEPT',
    '-t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --clamp-mss-to-pmtu',
  ],
  nft: '',
};
const MARK = { value: FROM_TUNNEL_MARK, mask: FROM_TUNNEL_MARK };
const RULES = [
  { pref: RULE_PREF_PROBES, family: 4, table: TABLE_PROBES, ownUdpPort: PROBE_PORT },
  { pref: RULE_PREF_TO_REGIONS, family: 4, table: TABLE_TO_REGIONS },
  { pref: RULE_PREF_FROM_REGIONS, family: 4, table: TABLE_FROM_REGIONS, mark: MARK },
] as const;
const SETUPS: Readonly<Record<string, Setup>> = {
  'by hand': BY_HAND,
  'by hand and one rule': { ...BY_HAND, ip: [...BY_HAND.ip, 'rule add pref 100 lookup 42'] },
  Raven: {
    ip: [
      `route add ${TO_FAR} table ${TABLE_TO_REGIONS}`,
      `route add ${TO_NODE} table ${TABLE_FROM_REGIONS}`,
      ...RULES.map((rule) => `rule add ${formatRule(rule)}`),
    ],
    iptables: [],
    nft: `${formatNftScript(gatewayNft())}\n`,
  },
};

export async function benchForwarding(): Promise<void> {
  const measured = new Map<string, number[]>();
  for (let i = 0; i < ROUNDS; i++) {
    const names = Object.keys(SETUPS);
    for (const name of i % 2 === 0 ? names : names.toReversed()) {
      for (const [way, us] of await measureSetup(SETUPS[name] ?? BY_HAND)) {
        measured.set(name + way, [...(measured.get(name + way) ?? []), us]);
      }
    }
  }
  printTable(
    `What a gateway costs without its tunnel: CPU µs of a packet of 256 bytes and its answer, end to end; medians of ${ROUNDS} rounds of ${PINGS}; against by hand round by round, the middle half in brackets`,
    ['from a tunnel to', ...Object.keys(SETUPS).flatMap((name, i) => (i === 0 ? [name] : [name, 'times']))],
    (Object.keys(WAYS) as Way[]).map((way) => [way, ...Object.keys(SETUPS).flatMap((name, i) => cells(measured, [name, way], i === 0))]),
  );
}

function cells(measured: ReadonlyMap<string, readonly number[]>, [name, way]: [string, Way], isBase: boolean): string[] {
  const own = measured.get(name + way) ?? [];
  const base = measured.get(`by hand${way}`) ?? [];
  if (isBase) return [round(median(own), 2)];
  const times = own.map((us, i) => us / (base[i] ?? Number.NaN));
  const [low, high] = middleHalf(times);
  return [round(median(own), 2), `${round(median(times), 2)} (${round(low, 2)}–${round(high, 2)})`];
}

/** In fresh namespaces: one that ever had a rule of its own keeps the slower lookup (kernel, `fib4_has_custom_rules`). */
async function measureSetup(setup: Setup): Promise<Map<Way, number>> {
  await remove();
  return withRemoval(remove, async () => {
    await build(setup);
    const results = new Map<Way, number>();
    for (const way of Object.keys(WAYS) as Way[]) {
      await pingUs(WAYS[way], PINGS / 10);
      results.set(way, await pingUs(WAYS[way], PINGS));
    }
    return results;
  });
}

async function remove(): Promise<void> {
  for (const name of Object.values(NAMES)) await hostExec(['ip', 'netns', 'del', name]).catch(() => undefined);
}

async function build(setup: Setup): Promise<void> {
  const vxlan = (local: string, mac: string): string =>
    `link add ${VXLAN_DEVICE} address ${mac} mtu 1450 type vxlan id ${VXLAN_ID} local ${local} dev eth0 dstport ${VXLAN_PORT} nolearning`;
  const { far, gateway, pod, node } = NAMES;
  for (const name of Object.values(NAMES)) {
    await hostExec(['ip', 'netns', 'add', name]);
    await netnsExec(name)(['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.default.rp_filter=0']);
    await ip(name, ['link set lo up']);
  }
  await ip(gateway, [
    `link add rvn-cable type veth peer name eth0 netns ${far}`,
    `link set rvn-cable group ${TUNNEL_GROUP} up`,
    `link add pod0 type veth peer name eth0 netns ${pod}`,
    `link add eth0 type veth peer name eth0 netns ${node}`,
    ...['pod0 up', 'eth0 up'].map((link) => `link set ${link}`),
    ...['10.9.0.2/30 dev rvn-cable', '10.244.0.1/24 dev pod0', '192.168.7.1/24 dev eth0'].map((line) => `address add ${line}`),
    vxlan('192.168.7.1', MACS.gateway),
    `link set ${VXLAN_DEVICE} up`,
    `neigh add 192.168.7.2 lladdr ${MACS.node} dev ${VXLAN_DEVICE} nud permanent`,
    // The CNI's.
    'route add 10.244.1.0/24 via 192.168.7.2 dev eth0',
  ]);
  await ip(far, [
    'link set eth0 up',
    'address add 10.9.0.1/30 dev eth0',
    `address add ${FAR}/32 dev lo`,
    `route add 10.244.0.0/16 via 10.9.0.2 src ${FAR}`,
  ]);
  await ip(pod, ['link set eth0 up', `address add ${POD}/24 dev eth0`, 'route add default via 10.244.0.1']);
  await ip(node, [
    'link set eth0 up',
    'address add 192.168.7.2/24 dev eth0',
    `address add ${NODE}/32 dev lo`,
    vxlan('192.168.7.2', MACS.node),
    `link set ${VXLAN_DEVICE} up`,
    `neigh add 192.168.7.1 lladdr ${MACS.gateway} dev ${VXLAN_DEVICE} nud permanent`,
    `route add 10.244.2.0/24 via 192.168.7.1 dev ${VXLAN_DEVICE} onlink src ${NODE}`,
  ]);
  await netnsExec(gateway)(['bridge', 'fdb', 'append', MACS.node, 'dev', VXLAN_DEVICE, 'dst', '192.168.7.2']);
  await netnsExec(node)(['bridge', 'fdb', 'append', MACS.gateway, 'dev', VXLAN_DEVICE, 'dst', '192.168.7.1']);
  for (const line of [CNI_MASQUERADE, ...setup.iptables]) await netnsExec(gateway)(['iptables', '-w', ...line.split(' ')]);
  await ip(gateway, setup.ip);
  await netnsExec(gateway)(['nft', '-f', '-'], { stdin: setup.nft });
}

const MACS = { gateway: '02:00:00:00:00:01', node: '02:00:00:00:00:02' };

async function ip(netns: string, lines: readonly string[]): Promise<void> {
  await hostExec(['ip', '-n', netns, '-batch', '-'], { stdin: lines.map((line) => `${line}\n`).join('') });
}

/** bash's `time` says what the child used to the millisecond; Node.js does not say it of children. */
async function pingUs(to: string, count: number): Promise<number> {
  const script = 'TIMEFORMAT="cpu %U %S"; { time "$@"; } 2>&1';
  const output = await netnsExec(NAMES.far)(['bash', '-c', script, 'bash', 'ping', '-fq', '-c', String(count), '-s', '228', to]);
  const [, user, system] = /cpu ([\d.]+) ([\d.]+)/.exec(output) ?? [];
  if (!output.includes(` ${count} received`) || user === undefined) throw new Error(`ping lost packets on an idle way: ${output}`);
  return ((Number(user) + Number(system)) * 1e6) / count;
}

function gatewayNft(): ReturnType<typeof planNft> {
  const cidr = (text: string) => parseCidr(text) ?? [];
  const host = parseIp('10.244.0.1');
  return planNft({
    role: 'gateway',
    families: [4],
    own: [cidr('10.244.0.0/24')].flat(),
    remote: [cidr('10.244.2.0/24')].flat(),
    hostSources: host === undefined ? {} : { 4: host },
    isProbed: false,
  });
}
