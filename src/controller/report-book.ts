import { type Forwarding, type TunnelEndpoint, type TunnelLink, upOfTotal } from '../api/tunnel-endpoint.ts';
import { ALL_TUNNELS_DOWN, isOwnFault } from '../domain/forwarding.ts';

/** What gateway nodes say of themselves, as far as Gateways show it or are elected by it. */
export interface ReportBook {
  /** Takes what a node says now; undefined: nothing any more. */
  set(node: string, next: TunnelEndpoint | undefined): ReportChange;
  has(node: string): boolean;
  linksOf(node: string): readonly TunnelLink[] | undefined;
  /** Undefined also for what is not the node's own fault. */
  forwardingOf(node: string): Forwarding | undefined;
  /** Whether the answer of `forwardingOf` hangs on what other nodes say. */
  isInDoubt(node: string): boolean;
}

export interface ReportChange {
  /** Regions that show other tunnels for it. */
  readonly relinked: readonly string[];
  /** The node is to be judged anew as a gateway. */
  readonly isJudged: boolean;
}

interface Report {
  readonly region: string;
  readonly links: readonly TunnelLink[];
  readonly forwarding: Forwarding | undefined;
}

export function createReportBook(): ReportBook {
  const reports = new Map<string, Report>();

  function linksOf(node: string): readonly TunnelLink[] | undefined {
    return reports.get(node)?.links;
  }

  return {
    set: (node, next) => {
      const old = reports.get(node);
      const found = next && { region: next.spec.gateway, links: next.status?.links ?? [], forwarding: next.status?.forwarding };
      if (found === undefined) reports.delete(node);
      else reports.set(node, found);
      const isSame = old?.region === found?.region && shownOf(old?.links) === shownOf(found?.links);
      return {
        relinked: isSame ? [] : [old?.region, found?.region].filter((region) => region !== undefined),
        isJudged: (old === undefined) !== (found === undefined) || verdictOf(old) !== verdictOf(found),
      };
    },
    has: (node) => reports.has(node),
    linksOf,
    forwardingOf: (node) => {
      const forwarding = reports.get(node)?.forwarding;
      return forwarding !== undefined && isOwnFault(node, forwarding, linksOf) ? forwarding : undefined;
    },
    isInDoubt: (node) => reports.get(node)?.forwarding?.reason === ALL_TUNNELS_DOWN,
  };
}

/** All of it that a Gateway shows; round trips are not. */
function shownOf(links: readonly TunnelLink[] | undefined): string | undefined {
  const down = links?.filter(({ state }) => state !== 'Up').map(({ peer, state, message }) => [peer, state, message]);
  return links && `${upOfTotal(links)} ${JSON.stringify(down)}`;
}

function verdictOf(report: Report | undefined): string {
  const { state, reason, message } = report?.forwarding ?? {};
  return JSON.stringify([state, reason, message]);
}
