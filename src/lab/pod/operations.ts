import { Resolver } from 'node:dns/promises';
import { get } from 'node:http';
import { messageOf, UserError } from '../../lib/errors.ts';
import { familyOf, type Ip } from '../../net/ip.ts';
import { type Arguments, ipArgument, numberArgument, textArgument, wordArgument, wordsArgument } from './arguments.ts';
import { type IcmpResult, pingIp, traceIp, type TraceResult } from './icmp.ts';
import { createJobs, startLongRun } from './jobs.ts';
import { networkFault } from './network-fault.ts';
import type { PingerReport } from './pinger.ts';
import { parseObject, TCP_PORT, UDP_PORT } from './protocol.ts';
import type { StreamReport } from './stream.ts';
import { download, upload, type Transfer } from './tcp-client.ts';
import { askUdp, type UdpResult } from './udp-client.ts';

/** What a pod does when asked through its control socket: arguments and result of each operation. */
export interface PodOperations {
  /** Who is there. */
  hello: { args: object; result: { readonly pod: string; readonly pid: number } };
  /** Measures the way to another pod, all kinds at once. */
  probe: {
    args: { readonly ip: string; readonly kinds?: readonly ProbeKind[]; readonly bytes?: number; readonly timeoutMs?: number };
    result: ProbeResult;
  };
  /** Finds the routers on the way. */
  trace: { args: { readonly ip: string; readonly timeoutMs?: number }; result: TraceResult };
  /** Asks the DNS server of the pod's resolv.conf, or `server`. */
  resolve: {
    args: { readonly name: string; readonly server?: string; readonly timeoutMs?: number };
    result: { readonly addresses: readonly string[] };
  };
  /** One small exchange with a pod behind any address and port, as a Service's. */
  connect: {
    args: {
      readonly ip: string;
      readonly port: number;
      readonly protocol?: 'tcp' | 'udp' | 'http';
      readonly bytes?: number;
      readonly timeoutMs?: number;
    };
    result: ConnectResult;
  };
  /** UDP datagrams at an even pace; answers at its end. */
  pinger: { args: PingerArgs; result: PingerReport };
  /** One TCP connection through the target's echo; answers at its end. */
  stream: { args: StreamArgs; result: StreamReport };
  /** Starts a pinger or a stream that outlives this connection. */
  start: {
    args: ({ readonly run: 'pinger' } & PingerArgs & JobArgs) | ({ readonly run: 'stream' } & StreamArgs & JobArgs);
    result: JobArgs;
  };
  /** The account of a started one until now. */
  report: { args: JobArgs; result: PingerReport | StreamReport };
  /** Ends a started one and gives its account. */
  stop: { args: JobArgs; result: PingerReport | StreamReport };
}

export interface JobArgs {
  readonly job: string;
}

export interface PingerArgs {
  readonly ip: string;
  readonly port?: number;
  /** 100 when absent. */
  readonly perSecond?: number;
  /** 10 when absent. */
  readonly seconds?: number;
}

export interface StreamArgs {
  readonly ip: string;
  readonly port?: number;
  /** 1,000,000 when absent. */
  readonly bytesPerSecond?: number;
  /** 10 when absent. */
  readonly seconds?: number;
}

export type ProbeKind = 'icmp' | 'tcp' | 'udp';

/** Holds the kinds that were asked for. */
export interface ProbeResult {
  readonly icmp: IcmpResult | undefined;
  readonly tcp: { readonly up: Transfer; readonly down: Transfer } | undefined;
  readonly udp: UdpResult | undefined;
}

export interface ConnectResult {
  readonly ok: boolean;
  readonly pod: string | undefined;
  readonly sourceIp: string | undefined;
  readonly error: string | undefined;
}

export type Operation = (args: Arguments, signal: AbortSignal) => Promise<unknown>;

const DEFAULT_TIMEOUT_MS = 10_000;
const MAX_TIMEOUT_MS = 600_000;
/** Enough for any stream through a lab, small enough to end. */
const MAX_BYTES = 1 << 30;

/** All operations of a pod, by name. A wrong argument rejects with a UserError; what the network does wrong is in the result. */
export function createOperations(pod: string): ReadonlyMap<string, Operation> {
  const jobs = createJobs();
  const operations: Record<keyof PodOperations, Operation> = {
    hello: async () => ({ pod, pid: process.pid }),
    probe: (args, signal) => probe(args, deadline(args, signal)),
    trace: (args, signal) => traceIp(ipArgument(args, 'ip'), deadline(args, signal)),
    resolve: (args, signal) => resolveName(args, deadline(args, signal)),
    connect: (args, signal) => connectTo(args, deadline(args, signal)),
    pinger: (args, signal) => runUntil(startLongRun('pinger', args), signal),
    stream: (args, signal) => runUntil(startLongRun('stream', args), signal),
    start: async (args) => jobs.start(textArgument(args, 'job'), startLongRun(wordArgument(args, 'run', ['pinger', 'stream']), args)),
    report: async (args) => jobs.report(textArgument(args, 'job')),
    stop: (args) => jobs.stop(textArgument(args, 'job')),
  };
  return new Map(Object.entries(operations));
}

function deadline(args: Arguments, signal: AbortSignal): AbortSignal {
  const timeoutMs = numberArgument(args, 'timeoutMs', { min: 1, max: MAX_TIMEOUT_MS, fallback: DEFAULT_TIMEOUT_MS });
  return AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
}

async function runUntil<T>(run: { stop(): void; finished: Promise<T> }, signal: AbortSignal): Promise<T> {
  signal.addEventListener('abort', () => run.stop(), { once: true });
  return run.finished;
}

async function probe(args: Arguments, signal: AbortSignal): Promise<ProbeResult> {
  const ip = ipArgument(args, 'ip');
  const kinds = wordsArgument(args, 'kinds', ['icmp', 'tcp', 'udp']);
  const bytes = byteCount(args, 1 << 20);
  const [icmp, tcp, udp] = await Promise.all([
    kinds.includes('icmp') ? pingIp(ip, signal) : undefined,
    kinds.includes('tcp') ? bothWays(ip, bytes, signal) : undefined,
    kinds.includes('udp') ? askUdp({ ip, port: UDP_PORT }, signal) : undefined,
  ]);
  return { icmp, tcp, udp };
}

/** One after the other: each direction gets the whole path. */
async function bothWays(ip: Ip, bytes: number, signal: AbortSignal): Promise<{ up: Transfer; down: Transfer }> {
  const target = { ip, port: TCP_PORT };
  const up = await upload(target, bytes, signal);
  return { up, down: await download(target, bytes, signal) };
}

async function resolveName(args: Arguments, signal: AbortSignal): Promise<{ addresses: string[] }> {
  const name = textArgument(args, 'name');
  const resolver = new Resolver({ timeout: 1_000, tries: 3 });
  if (args['server'] !== undefined) resolver.setServers([ipArgument(args, 'server')]);
  signal.addEventListener('abort', () => resolver.cancel(), { once: true });
  try {
    return { addresses: await resolver.resolve4(name) };
  } catch (error) {
    throw signal.aborted ? new Error(`no DNS answer in time for ${name}`) : error;
  }
}

async function connectTo(args: Arguments, signal: AbortSignal): Promise<ConnectResult> {
  const target = { ip: ipArgument(args, 'ip'), port: numberArgument(args, 'port', { min: 1, max: 65_535 }) };
  const protocol = wordArgument(args, 'protocol', ['tcp', 'udp', 'http']);
  if (protocol === 'http') return fetchSource(target, signal);
  const bytes = byteCount(args, 1_000);
  const { ok, pod, sourceIp, error } = protocol === 'udp' ? await askUdp(target, signal) : await upload(target, bytes, signal);
  return { ok, pod, sourceIp, error };
}

function byteCount(args: Arguments, fallback: number): number {
  return Math.floor(numberArgument(args, 'bytes', { min: 0, max: MAX_BYTES, fallback }));
}

function fetchSource({ ip, port }: { ip: Ip; port: number }, signal: AbortSignal): Promise<ConnectResult> {
  const failed = (error: string): ConnectResult => ({ ok: false, pod: undefined, sourceIp: undefined, error });
  return new Promise((resolve) => {
    const request = get({ host: ip, port, family: familyOf(ip), agent: false, signal }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => (text += chunk));
      response.on('error', (error) => resolve(failed(error.message)));
      response.on('end', () => {
        const { pod, source } = parseObject(text) ?? {};
        if (typeof pod === 'string' && typeof source === 'string') resolve({ ok: true, pod, sourceIp: source, error: undefined });
        else resolve(failed('not a pod of this lab'));
      });
    });
    request.on('error', (error) => resolve(failed(signal.aborted ? 'no answer in time' : networkFault(error))));
  });
}

/** The text for a refused request. */
export function refusalOf(error: unknown): string {
  return error instanceof UserError ? `bad request: ${error.message}` : messageOf(error);
}
