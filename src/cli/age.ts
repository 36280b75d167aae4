const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** A length of time in the two units that matter, as kubectl prints ages: `47s`, `3m20s`, `25m`, `5h12m`, `3d4h`, `200d`. */
export function formatAge(ms: number): string {
  if (!Number.isFinite(ms)) return '<unknown>';
  // A clock that runs a little ahead of ours.
  const age = Math.max(0, ms);
  if (age < 2 * MINUTE_MS) return `${Math.floor(age / SECOND_MS)}s`;
  if (age < 10 * MINUTE_MS) return two(age, MINUTE_MS, 'm', SECOND_MS, 's');
  if (age < 3 * HOUR_MS) return `${Math.floor(age / MINUTE_MS)}m`;
  if (age < 8 * HOUR_MS) return two(age, HOUR_MS, 'h', MINUTE_MS, 'm');
  if (age < 2 * DAY_MS) return `${Math.floor(age / HOUR_MS)}h`;
  if (age < 8 * DAY_MS) return two(age, DAY_MS, 'd', HOUR_MS, 'h');
  return `${Math.floor(age / DAY_MS)}d`;
}

function two(age: number, largeMs: number, large: string, smallMs: number, small: string): string {
  const rest = Math.floor((age % largeMs) / smallMs);
  return `${Math.floor(age / largeMs)}${large}${rest === 0 ? '' : `${rest}${small}`}`;
}
