import { UserError } from '../../lib/errors.ts';
import { type Arguments, ipArgument, numberArgument } from './arguments.ts';
import type { LongRun } from './long-run.ts';
import { type PingerReport, startPinger } from './pinger.ts';
import { TCP_PORT, UDP_PORT } from './protocol.ts';
import { startStream, type StreamReport } from './stream.ts';

type Report = PingerReport | StreamReport;

/** Long measurements by name, independent of who asked for them. */
export interface Jobs {
  start(job: string, run: LongRun<Report>): { readonly job: string };
  report(job: string): Report;
  stop(job: string): Promise<Report>;
}

export function createJobs(): Jobs {
  const runs = new Map<string, LongRun<Report>>();
  function find(job: string): LongRun<Report> {
    const run = runs.get(job);
    if (run === undefined) throw new UserError([{ path: 'job', message: `no job is named ${JSON.stringify(job)}` }]);
    return run;
  }
  return {
    start(job, run) {
      if (runs.has(job)) {
        run.stop();
        throw new UserError([{ path: 'job', message: `${JSON.stringify(job)} is in use` }]);
      }
      runs.set(job, run);
      return { job };
    },
    report: (job) => find(job).report(),
    async stop(job) {
      const run = find(job);
      runs.delete(job);
      run.stop();
      return run.finished;
    },
  };
}

/** Starts a pinger or a stream from the arguments of a request. @throws {UserError} when one is wrong */
export function startLongRun(kind: 'pinger' | 'stream', args: Arguments): LongRun<Report> {
  const ip = ipArgument(args, 'ip');
  const port = numberArgument(args, 'port', { min: 1, max: 65_535, fallback: kind === 'pinger' ? UDP_PORT : TCP_PORT });
  const seconds = numberArgument(args, 'seconds', { min: 0, max: 3_600, fallback: 10 });
  if (kind === 'pinger') {
    return startPinger({ ip, port }, { seconds, perSecond: numberArgument(args, 'perSecond', { min: 1, max: 1_000, fallback: 100 }) });
  }
  const bytesPerSecond = numberArgument(args, 'bytesPerSecond', { min: 1, max: 1e9, fallback: 1e6 });
  return startStream({ ip, port }, { seconds, bytesPerSecond });
}
