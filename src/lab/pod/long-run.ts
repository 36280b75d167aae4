/** A measurement that goes on for a while. */
export interface LongRun<T> {
  /** What has happened until now. */
  report(): T;
  /** Ends it early. */
  stop(): void;
  readonly finished: Promise<T>;
}
