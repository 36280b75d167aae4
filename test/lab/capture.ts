import { type ChildProcess, spawn } from 'node:child_process';
import { eventually } from './harness.ts';

/** Bytes of each packet, enough for the headers within a VXLAN. The kernel divides its buffer of 2 MiB by it: of tcpdump's own 256 KiB it holds 8, and drops the ninth. */
const SNAPLEN = '512';

export interface CaptureAt {
  readonly netns: string;
  /** Any device but `lo`, of which the kernel counts each packet twice; `any` for all. */
  readonly dev: string;
  /** More words of tcpdump: options, then pcap-filter(7). */
  readonly filter: readonly string[];
}

/** What passes a device while `work` runs, in the lines of tcpdump(8): all of it, also what was not yet read when `work` ended. */
export async function captured({ netns, dev, filter }: CaptureAt, work: () => Promise<unknown>): Promise<string[]> {
  const argv = ['netns', 'exec', netns, 'tcpdump', '-i', dev, '-nn', '-l', '--immediate-mode', '-s', SNAPLEN, ...filter];
  const capture = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolve) => capture.once('close', resolve));
  let [seen, said] = ['', ''];
  capture.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
  capture.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
  try {
    await eventually('the capture runs', async () => said.includes('listening on'));
    await work();
    await allRead(capture, () => said);
  } finally {
    capture.kill('SIGTERM');
    await ended;
  }
  return seen.split('\n').filter((line) => line !== '');
}

/** It reads in between, so what is missing in all of them will never come. */
const ANSWERS = 8;

/**
 * tcpdump leaves unread what the kernel still holds for it when it is ended; SIGUSR1 makes it say how much it read and how much there was. What came before its
 * filter stood was counted by the kernel, and thrown away by libpcap (`pcap_setfilter`): some are missing for good then.
 */
async function allRead(capture: ChildProcess, said: () => string): Promise<void> {
  const missing: number[] = [];
  await eventually('all captured packets are read', async () => {
    const before = said().length;
    capture.kill('SIGUSR1');
    const counts = () => /(\d+) packets? captured, (\d+) packets? received.*/.exec(said().slice(before)) ?? undefined;
    const [text, read, received] = await eventually('its counts', async () => counts(), undefined, 20);
    missing.push(Number(received) - Number(read));
    const last = missing.slice(-ANSWERS);
    if (last.at(-1) === 0 || (last.length === ANSWERS && last.every((count) => count === last[0]))) return true;
    throw new Error(text);
  });
}

/** Frames of the inner VXLAN that reach or leave a node during `work` and are none of its own business: lines of the packets within, its probes left out. */
export async function foreignFrames(
  { netns, podCIDR }: { readonly netns: string; readonly podCIDR: string },
  work: () => Promise<unknown>,
): Promise<string[]> {
  const lines = await captured({ netns, dev: 'eth0', filter: ['-T', 'vxlan', 'udp', 'port', '4472'] }, work);
  const own = podCIDR.replace(/\d+\/\d+$/, '1.');
  const inner = lines.filter((_, at) => lines[at - 1]?.includes('.4472: VXLAN'));
  return inner.filter((line) => !line.startsWith(`IP ${own}`) && !line.includes(` > ${own}`));
}
