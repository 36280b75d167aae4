import { NEXTHOP_ID_FIRST, NFT_TABLE, RULE_PREF_FROM_REGIONS, TABLE_FROM_REGIONS, VXLAN_PORT } from '../../api/names.ts';
import type { HostLacks } from '../../domain/host-needs.ts';
import { planNft } from '../../domain/nft-rules.ts';
import type { DataPath, VpnDriver } from '../../domain/node-plan.ts';
import { formatNftScript } from '../../domain/nft-text.ts';
import { messageOf } from '../../lib/errors.ts';
import { hostCidr } from '../../net/cidr.ts';
import { parseIp } from '../../net/ip.ts';
import { CommandError, type Exec, isMissing } from '../exec/exec.ts';
import { charonCommand } from '../ipsec/charon-program.ts';
import { attempt, type DataPathChoice, type Trial } from '../tunnel/trial.ts';

/** Programs that every node calls, how they tell their version, and where they come from. */
const PROGRAMS: readonly (readonly [argv: readonly [string, string], from: string])[] = [
  [['ip', '-V'], 'iproute2'],
  [['bridge', '-V'], 'iproute2'],
  [['nft', '-v'], 'nftables'],
];

/** The last of our next-hop ids and VXLAN network ids that no plan uses. */
const NEXTHOP_ID = NEXTHOP_ID_FIRST + 0xffff;
const VNI = 0xffffff;
/** No packet has it: the rule may stand among the host's own for a moment. */
const NO_MARK = '0xffffffff/0xffffffff';
const KERNEL: readonly Trial[] = [
  {
    what: 'VXLAN devices in the kernel',
    line: `link add rvn-try type vxlan id ${VNI} dstport ${VXLAN_PORT}`,
    undo: 'link del rvn-try',
  },
  {
    what: 'next-hop objects in the kernel (Linux 5.3 or later)',
    // A blackhole stands on the loopback device, which is down in a new namespace.
    line: `link set lo up\nnexthop add id ${NEXTHOP_ID} blackhole`,
    undo: `nexthop del id ${NEXTHOP_ID}`,
  },
  {
    what: 'policy routing in the kernel',
    line: `rule add pref ${RULE_PREF_FROM_REGIONS} fwmark ${NO_MARK} lookup ${TABLE_FROM_REGIONS}`,
    undo: `rule del pref ${RULE_PREF_FROM_REGIONS} fwmark ${NO_MARK} lookup ${TABLE_FROM_REGIONS}`,
  },
];
const TUN: Trial = {
  what: 'TUN devices (/dev/net/tun)',
  line: 'tuntap add dev rvn-try mode tun',
  undo: 'tuntap del dev rvn-try mode tun',
};

/** What every node needs and this machine has not. Looks and tries; the host's own objects are not touched, and nothing is left behind. */
export async function inspectNode(exec: Exec): Promise<HostLacks['node']> {
  const programs = await Promise.all(PROGRAMS.map(([argv, from]) => inspectProgram(exec, argv, from)));
  const missing = programs.flat();
  if (missing.length > 0) return missing;
  return (await Promise.all([...KERNEL.map((trial) => attempt(exec, trial)), inspectNft(exec)])).flat();
}

/** What a gateway node needs beyond that for its tunnels. What runs in another container (`raven charon`) has its own files and devices. */
export async function inspectGateway(
  exec: Exec,
  { driver, dataPath, reason }: DataPathChoice & { readonly driver: VpnDriver },
  charon: 'own' | 'external',
): Promise<HostLacks['gateway']> {
  if (charon === 'external') return driver === 'ipsec' ? [] : inspectProgram(exec, ...WG);
  const tun = dataPath === 'user' ? await attempt(exec, TUN) : [];
  const programs = driver === 'ipsec' ? await inspectCharon() : await inspectWireguard(exec, dataPath);
  return [...programs, ...tun.map((each) => `${each}, which tunnels need as ${reason}`)];
}

const WG = [['wg', '--version'], 'wireguard-tools'] as const;

async function inspectProgram(exec: Exec, argv: readonly [string, string], from: string): Promise<string[]> {
  try {
    await exec(argv);
    return [];
  } catch (error) {
    // Whatever else is wrong with it shows where it is used.
    return error instanceof CommandError && isMissing(error) ? [`program ${argv[0]} (package ${from})`] : [];
  }
}

async function inspectWireguard(exec: Exec, dataPath: DataPath): Promise<string[]> {
  const tools = await inspectProgram(exec, ...WG);
  return dataPath === 'kernel' ? tools : [...tools, ...(await inspectProgram(exec, ['wireguard-go', '--version'], 'wireguard-go'))];
}

async function inspectCharon(): Promise<string[]> {
  try {
    await charonCommand();
    return [];
  } catch (error) {
    return [messageOf(error)];
  }
}

/** The rules of a gateway, in the end not taken over (`nft(8)`, `--check`): the kernel has looked at each. */
async function inspectNft(exec: Exec): Promise<string[]> {
  const ip = parseIp('192.0.2.1');
  const cidrs = ip === undefined ? [] : [hostCidr(ip)];
  const table = planNft({
    role: 'gateway',
    families: [4],
    own: cidrs,
    remote: [],
    hostSources: ip === undefined ? {} : { 4: ip },
    isProbed: true,
  });
  try {
    await exec(['nft', '-c', '-f', '-'], { stdin: `${formatNftScript(table)}\n` });
    return [];
  } catch (error) {
    const lines = error instanceof CommandError ? error.stderr.trim().split('\n') : [messageOf(error)];
    return [
      `nf_tables in the kernel with all that table ${NFT_TABLE} uses (${lines
        .slice(0, 2)
        .map((line) => line.trim())
        .join(': ')})`,
    ];
  }
}
