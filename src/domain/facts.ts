import type { Cidr } from '../net/cidr.ts';
import type { Family, Ip } from '../net/ip.ts';
import type { FirewallTable } from './firewall.ts';
import type { HostLacks } from './host-needs.ts';
import type { DataPath, VpnDriver } from './node-plan.ts';

/** What the agent knows of its own machine. */
export interface LocalFacts extends MachineFacts {
  readonly driver: VpnDriver;
  readonly dataPath: DataPath;
  /** `--forward-node-ip`: the nodes' own addresses are carried between regions too. Absent: they are not. */
  readonly forwardNodeIp?: boolean;
}

/** What is found by looking at the machine. */
export interface MachineFacts {
  /** The device that carries the node's address; undefined when no device has it. */
  readonly underlay: Underlay | undefined;
  /** Addresses of this machine inside its own pod CIDRs, one of a family, to stand for the host itself in other regions. */
  readonly hostSources: { readonly [family in Family]?: Ip };
  /** `net.ipv6.conf.all.forwarding`, which is the host's own; undefined where the kernel has no IPv6, or no region has IPv6 pods. */
  readonly ipv6Forwarding: boolean | undefined;
  /** What this machine lacks; absent: nothing, as far as was looked. */
  readonly lacks?: HostLacks;
  /** Packet filters of others; absent: not looked for. */
  readonly firewall?: readonly FirewallTable[];
}

export interface Underlay {
  readonly dev: string;
  readonly mtuBytes: number;
  /** Prefixes that are on-link there. */
  readonly prefixes: readonly Cidr[];
  /** An address of the device in the family that the node's own address is not of. */
  readonly secondIp?: Ip;
}
