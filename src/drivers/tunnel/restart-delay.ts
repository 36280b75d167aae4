const FIRST_RESTART_MS = 100;
const LAST_RESTART_MS = 10_000;

/** How long to wait before charon is started again. At once for the first time: with ESP in the kernel no packet comes in while nobody holds the UDP port. */
export function restartDelayMs(failures: number): number {
  return failures <= 1 ? 0 : Math.min(LAST_RESTART_MS, FIRST_RESTART_MS * 2 ** (failures - 1));
}
