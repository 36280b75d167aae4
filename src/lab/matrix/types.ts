import type { Family } from '../../net/ip.ts';

/** What the matrix needs to know of a lab. */
export interface MatrixLab {
  readonly name: string;
  readonly pods: readonly MatrixPod[];
  readonly nodes: readonly MatrixHost[];
  /** Routers between the nodes: named when a packet passes them in clear. */
  readonly routers: readonly MatrixHost[];
  readonly services: readonly MatrixService[];
  /** Pods have a resolv.conf that knows the services' names. */
  readonly hasDns: boolean;
}

export interface MatrixPod {
  readonly name: string;
  readonly node: string;
  readonly region: string;
  readonly ips: readonly string[];
  /** Control socket of its program. */
  readonly socket: string;
  /** False on a killed node. */
  readonly alive: boolean;
}

/** A machine that packets pass. */
export interface MatrixHost {
  readonly name: string;
  readonly region: string;
  readonly netns: string;
  /** All that its devices have, also the bridge of its pods and the overlay; other regions may have the same. */
  readonly addresses: readonly string[];
  readonly alive: boolean;
}

export interface MatrixService {
  readonly name: string;
  readonly namespace: string;
  readonly clusterIPs: readonly string[];
  readonly port: number;
  readonly targetPort: number;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number | null;
  readonly pods: readonly string[];
}

/** One ordered pair of pods, as `raven lab matrix -o json` prints it. */
export interface PairResult {
  readonly from: string;
  readonly to: string;
  readonly family: Family;
  readonly icmp: boolean;
  /** Both directions, with the right checksum. */
  readonly tcp: boolean;
  readonly udp: boolean;
  /** The sender's address as the receiver saw it; null when nothing arrived. */
  readonly sourceSeen: string | null;
  /** Nodes passed, in order; `?` for one that did not tell, an address for a machine that is not of the lab. */
  readonly path: readonly string[];
  /** The quickest of a few echo requests; null without an answer. */
  readonly rttMs: number | null;
  readonly ok: boolean;
  /** What is wrong, for people; null when ok. */
  readonly error: string | null;
}

/** The output of `raven lab matrix -o json`. */
export interface MatrixResult {
  readonly version: 1;
  readonly ok: boolean;
  readonly pairs: readonly PairResult[];
  /** Only with `--services`. */
  readonly services?: readonly ServiceResult[];
}

/** One Service as reached from one place. */
export interface ServiceResult {
  /** Pod, or node for its host network. */
  readonly from: string;
  /** `namespace/name`. */
  readonly service: string;
  readonly via: 'name' | 'clusterIP' | 'nodePort';
  /** `address:port`. */
  readonly address: string;
  /** Pod that answered. */
  readonly answeredBy: string | null;
  readonly sourceSeen: string | null;
  readonly ok: boolean;
  readonly error: string | null;
}
