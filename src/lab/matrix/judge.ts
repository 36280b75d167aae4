import type { TraceResult } from '../pod/icmp.ts';
import type { ProbeResult } from '../pod/operations.ts';
import type { Transfer } from '../pod/tcp-client.ts';
import type { Pair } from './pairs.ts';
import { namePath } from './path.ts';
import type { MatrixLab, PairResult } from './types.ts';

/** What was measured of one pair; undefined is what could not be. */
export interface Evidence {
  readonly light: Pick<ProbeResult, 'icmp' | 'udp'> | undefined;
  readonly tcp: ProbeResult['tcp'] | undefined;
  readonly trace: TraceResult | undefined;
  /** Why the sender's program could not be asked. */
  readonly failure: string | undefined;
}

/** Turns measurements into a verdict: everything passed, the right pod answered, and it saw the sender's own address. Pure. */
export function judgePair(lab: MatrixLab, pair: Pair, { light, tcp, trace, failure }: Evidence): PairResult {
  const { from, to, family } = pair;
  const answers = [light?.udp, tcp?.up, tcp?.down].filter((answer) => answer !== undefined);
  const sources = answers.flatMap(({ sourceIp }) => sourceIp ?? []);
  const foreign = sources.find((source) => !from.ips.includes(source));
  const stranger = answers.find(({ pod }) => pod !== undefined && pod !== to.name)?.pod;
  const problems = [
    failure,
    light?.icmp?.error && `icmp: ${light.icmp.error}`,
    tcp && describeTcp(tcp.up, tcp.down),
    light?.udp?.error && `udp: ${light.udp.error} (${light.udp.sent} sent)`,
    stranger && `answered by ${stranger}`,
    foreign && `source seen ${foreign} instead of ${ownAddress(pair)}${masqueradedBy(lab, pair, foreign)}`,
  ].filter((problem) => typeof problem === 'string' && problem !== '');
  const result = {
    icmp: (light?.icmp?.received ?? 0) > 0,
    tcp: tcp !== undefined && tcp.up.ok && tcp.down.ok,
    udp: light?.udp?.ok ?? false,
  };
  const complete = result.icmp && result.tcp && result.udp && sources.length > 0;
  return {
    from: from.name,
    to: to.name,
    family,
    ...result,
    sourceSeen: foreign ?? sources[0] ?? null,
    path: trace === undefined ? [] : namePath(lab, { from, to, hops: trace.hops }),
    rttMs: light?.icmp?.rttMs ?? null,
    ok: complete && problems.length === 0,
    error: problems.length > 0 ? problems.join('; ') : complete ? null : 'not measured',
  };
}

function describeTcp(up: Transfer, down: Transfer): string | undefined {
  const describe = (transfer: Transfer): string => `${transfer.bytes} of ${transfer.expected} bytes, ${transfer.error}`;
  if (!up.ok && !down.ok) return `tcp: ${describe(up)}${up.error === down.error ? '' : `; back: ${describe(down)}`}`;
  if (!up.ok) return `tcp: ${describe(up)}, but fine in the other direction`;
  return down.ok ? undefined : `tcp: fine, but in the other direction ${describe(down)}`;
}

function ownAddress({ from, family }: Pair): string {
  return from.ips.find((ip) => ip.includes(':') === (family === 6)) ?? '';
}

/** Who has the address that was seen: the sender's own region first, the same address may exist in others. */
function masqueradedBy({ nodes, routers }: MatrixLab, { from }: Pair, source: string): string {
  const owners = [...nodes, ...routers].filter(({ addresses }) => addresses.includes(source));
  const near = owners.filter(({ region }) => region === from.region);
  const names = (near.length > 0 ? near : owners).map(({ name }) => name);
  return names.length === 0 ? '' : ` (masqueraded by ${names.join(' or ')})`;
}
