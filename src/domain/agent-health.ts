/** What an agent's loop has come to, for the kubelet's probes. Times are epoch milliseconds. */
export interface LoopProgress {
  /** Whether the objects of the cluster are known, from the API or from the copy on disk. */
  readonly isSynced: boolean;
  /** Whether a plan was ever applied. */
  readonly isApplied: boolean;
  /** Since when the current tick runs; undefined between ticks. */
  readonly tickSinceMs: number | undefined;
  /** When the last tick ended, however it ended. */
  readonly lastTickMs: number | undefined;
  /** Why the last tick did not apply its plan. */
  readonly obstacle: string | undefined;
}

/** A tick may wait for a charon that starts (30 s) and for many slow commands of a busy machine. */
const HUNG_MS = 120_000;
/** Ticks come every 10 s at the least. */
const STILL_MS = 60_000;

/** Why the agent should be started anew; undefined when it should not. An API server that is away is no reason. */
export function judgeLiveness({ isSynced, tickSinceMs, lastTickMs }: LoopProgress, nowMs: number): string | undefined {
  if (tickSinceMs !== undefined && nowMs - tickSinceMs > HUNG_MS) return `the loop hangs for ${seconds(nowMs - tickSinceMs)}`;
  if (isSynced && tickSinceMs === undefined && lastTickMs !== undefined && nowMs - lastTickMs > STILL_MS)
    return `the loop has not worked for ${seconds(nowMs - lastTickMs)}`;
  return undefined;
}

/** Why the node is not set up yet; undefined once it was. What goes wrong later is told by conditions and metrics: packets go on meanwhile. */
export function judgeReadiness({ isSynced, isApplied, obstacle }: LoopProgress): string | undefined {
  if (isApplied) return undefined;
  if (!isSynced) return 'waiting for the API server; this node has no copy of its objects';
  return `the first plan is not applied yet${obstacle === undefined ? '' : `: ${obstacle}`}`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}
