import { execFile } from 'node:child_process';
import { familyOf } from '../../net/ip.ts';

export interface IcmpResult {
  readonly sent: number;
  readonly received: number;
  /** The quickest answer: the least disturbed by whatever else the machine does. */
  readonly rttMs: number | undefined;
  readonly error: string | undefined;
}

/** Three echo requests in quick succession. Never rejects. */
export async function pingIp(ip: string, signal: AbortSignal): Promise<IcmpResult> {
  return parsePing(await runPing(['-c', '3', '-i', '0.1', '-W', '2', ip], signal));
}

/** Reads what `ping -n` of iputils printed. */
export function parsePing(output: string): IcmpResult {
  const [, sent = '0', received = '0'] = /(\d+) packets transmitted, (\d+) received/.exec(output) ?? [];
  const rtt = /^rtt min\/avg\/max\/mdev = ([\d.]+)\//m.exec(output)?.[1];
  const refusal = /^From (\S+) icmp_seq=\d+ (.+)$/m.exec(output);
  const answered = Number(received) > 0;
  return {
    sent: Number(sent),
    received: Number(received),
    rttMs: rtt === undefined ? undefined : Number(rtt),
    error: answered
      ? undefined
      : refusal === null
        ? (/^ping: (.+)$/m.exec(output)?.[1] ?? 'no answer')
        : `${refusal[2]} (said ${refusal[1]})`,
  };
}

export interface TraceResult {
  /** How it was measured. */
  readonly method: 'record-route' | 'ttl';
  /** One address of each router on the way, in order; undefined for one that did not tell. Without the two ends. */
  readonly hops: readonly (string | undefined)[];
  /** The target answered. */
  readonly reached: boolean;
}

/** More hops than any lab has. */
const MAX_TTL = 8;

/**
 * Finds the routers between here and `ip`.
 *
 * IPv4 asks each router to write itself into the packet (RFC 791, record route): one packet, and no router needs a way
 * to send an error back, which encrypted paths with narrow selectors often lack. Where that does not come through, and
 * for IPv6, time-to-live errors tell, all distances at once.
 */
export async function traceIp(ip: string, signal: AbortSignal): Promise<TraceResult> {
  const recorded = familyOf(ip) === 4 ? parseRecordRoute(await runPing(['-c', '1', '-W', '1', '-R', ip], signal), ip) : undefined;
  if (recorded !== undefined) return { method: 'record-route', hops: recorded, reached: true };
  const ttls = Array.from({ length: MAX_TTL }, (_, i) => i + 1);
  const answers = await Promise.all(
    ttls.map(async (ttl) => parseTtlPing(await runPing(['-c', '1', '-W', '1', '-t', String(ttl), ip], signal))),
  );
  const end = answers.findIndex((answer) => answer === 'reached');
  const hops = (end < 0 ? answers : answers.slice(0, end)).map((answer) => (answer === 'reached' ? undefined : answer?.from));
  const last = hops.findLastIndex((hop) => hop !== undefined);
  return { method: 'ttl', hops: end < 0 ? hops.slice(0, last + 1) : hops, reached: end >= 0 };
}

/** The routers on the way out, from the output of `ping -n -R`, or undefined when the record is missing or full before the target. */
export function parseRecordRoute(output: string, target: string): string[] | undefined {
  const block = /^RR:([\s\d.]+)/m.exec(output)?.[1];
  const [, ...hops] = block?.trim().split(/\s+/) ?? [];
  const end = hops.indexOf(target);
  return end < 0 ? undefined : hops.slice(0, end);
}

/** Reads one `ping -n -c 1 -t TTL`: the target answered, a router said that the time was up, or nobody said anything. */
export function parseTtlPing(output: string): 'reached' | { readonly from: string } | undefined {
  if (/^\d+ bytes from /m.test(output)) return 'reached';
  const from = /^From (\S+) icmp_seq=\d+ Time (?:to live exceeded|exceeded: Hop limit)/m.exec(output)?.[1];
  return from === undefined ? undefined : { from };
}

/** stdout and stderr of a ping, whatever its exit code: 1 only says that something stayed without an answer. */
function runPing(args: readonly string[], signal: AbortSignal): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('ping', ['-n', ...args], (error, stdout, stderr) => {
      signal.removeEventListener('abort', stop);
      resolve(stdout + stderr + (error?.code === 'ENOENT' ? 'ping: not installed' : ''));
    });
    // SIGINT lets ping print its statistics of what there was until now.
    const stop = (): boolean => child.kill('SIGINT');
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}
