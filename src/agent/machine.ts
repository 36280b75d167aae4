import type { MachineFacts } from '../domain/facts.ts';
import { hasIpv6 } from '../domain/families.ts';
import { type HostLacks, NOTHING_LACKS } from '../domain/host-needs.ts';
import { regionOfNode, type Snapshot } from '../domain/snapshot.ts';
import type { Exec } from '../drivers/exec/exec.ts';
import { type FactsQuery, observeFacts } from '../drivers/facts/local-facts.ts';
import type { HostFirewall } from '../drivers/host-firewall/host-firewall.ts';

/** What the agent asks the machine that it runs on. */
export interface Machine {
  /** @param anew although the question is that of last time */
  look(query: FactsQuery, anew: boolean): Promise<MachineFacts>;
}

export interface MachineParts {
  readonly exec: Exec;
  readonly inspect?: () => Promise<HostLacks>;
  readonly firewall?: HostFirewall;
}

export function createMachine({ exec, inspect, firewall }: MachineParts): Machine {
  let facts: MachineFacts | undefined;
  /** What `facts` were asked for: with other pod CIDRs the answers are others. */
  let factsFor = '';

  /** Without the tools for it nothing is known of this machine. */
  async function ask(query: FactsQuery): Promise<MachineFacts> {
    const lacks = (await inspect?.()) ?? NOTHING_LACKS;
    if (lacks.node.length > 0) return { underlay: undefined, hostSources: {}, ipv6Forwarding: undefined, lacks };
    const [found, tables = []] = await Promise.all([observeFacts(exec, query), firewall?.read()]);
    return { ...found, lacks, firewall: tables };
  }

  return {
    look: async (query, anew) => {
      const text = JSON.stringify(query);
      if (anew || facts === undefined || text !== factsFor) facts = await ask(query);
      factsFor = text;
      return facts;
    },
  };
}

export function factsQuery(snapshot: Snapshot, node: string): FactsQuery {
  const self = regionOfNode(snapshot, node)?.nodes.find(({ name }) => name === node);
  return { nodeIp: self?.privateIp, subnets: self?.subnets ?? [], ipv6: hasIpv6(snapshot) };
}
