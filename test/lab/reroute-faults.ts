import { eventually, type Lab, must, run } from './harness.ts';

/** What can happen to the gateway node that carries for the rig's region b, and what it costs the pings of others. */

export interface Fault {
  readonly name: string;
  /** Whether packets shall move to the other endpoint. */
  readonly moves: boolean;
  readonly cause: (lab: Lab, node: string) => Promise<unknown>;
  readonly cure: (lab: Lab, node: string) => Promise<unknown>;
}

const CUT =
  'table inet cut { chain i { type filter hook input priority -400; udp dport 4500 drop; }; chain o { type filter hook output priority -400; udp sport 4500 drop; }; }\n';

const inNode = (lab: Lab, node: string, ...argv: string[]): Promise<string> =>
  must(['ip', 'netns', 'exec', `raven-${lab.name}-${node}`, ...argv]);
const start = (lab: Lab, target: string): Promise<unknown> =>
  eventually(`${target} starts`, async () => (await lab.raven('lab', 'start', target)).code === 0);

export const FAULTS: readonly Fault[] = [
  {
    name: 'agent killed',
    moves: false,
    cause: (lab, node) => lab.raven('lab', 'kill', `${node}/agent`),
    cure: (lab, node) => start(lab, `${node}/agent`),
  },
  {
    name: 'uplink down',
    moves: true,
    cause: (lab, node) => must(['ip', 'netns', 'exec', `raven-${lab.name}-${node}`, 'nft', '-f', '-'], CUT),
    cure: (lab, node) => inNode(lab, node, 'nft', 'delete', 'table', 'inet', 'cut'),
  },
  { name: 'power off', moves: true, cause: (lab, node) => lab.raven('lab', 'kill', node), cure: (lab, node) => start(lab, node) },
  {
    name: 'FORWARD DROP',
    moves: true,
    cause: (lab, node) => inNode(lab, node, 'iptables', '-w', '-P', 'FORWARD', 'DROP'),
    cure: (lab, node) => inNode(lab, node, 'iptables', '-w', '-P', 'FORWARD', 'ACCEPT'),
  },
];

/** Name of the node through which b2's packets leave its region. */
export async function exitOfB2(lab: Lab): Promise<string> {
  const { stdout } = await run(['ip', '-n', `raven-${lab.name}-b2`, 'nexthop', 'show', 'proto', '82']);
  return stdout.includes('192.168.1.12') ? 'b3' : stdout.includes('192.168.1.10') ? 'b1' : stdout;
}
