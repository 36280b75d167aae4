import type { Cidr } from '../net/cidr.ts';
import type { Ip } from '../net/ip.ts';
import type { DataPath } from './node-plan.ts';

/** What the agent finds on its own machine. */
export interface LocalFacts {
  /** The device that carries the node's address; undefined when no device has it. */
  readonly underlay: Underlay | undefined;
  /** An address of this machine inside its own pod CIDRs, to stand for the host itself in other regions. */
  readonly hostSource: Ip | undefined;
  readonly dataPath: DataPath;
}

export interface Underlay {
  readonly dev: string;
  readonly mtuBytes: number;
  /** Prefixes that are on-link there. */
  readonly prefixes: readonly Cidr[];
}
